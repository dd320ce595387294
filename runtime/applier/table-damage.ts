import { checkFile, type FileDamage, findDamaged, findMissing } from "../destination/damaged-files";
import type { DeltaTable } from "../destination/delta/delta-table";
import type { DuckDbSession } from "../destination/duckdb-session";
import { SluiceError } from "../errors";
import { forgetHistoryLoss, historyLossAcceptedAtMs } from "../staging/history-loss";
import type { ObjectStore } from "../staging/object-store";
import { faultOf } from "../staging/storage-fault";

/** How long the file is looked for that made a batch fail. */
const searchMsMax = 60_000;

/** Which of a table's files are damaged, and whether somebody accepts what that costs. */
export class TableDamage {
  constructor(
    private readonly tableId: string,
    /** of the applier */
    private readonly id: string,
    private readonly store: ObjectStore,
    private readonly session: DuckDbSession,
  ) {}

  findMissing(delta: DeltaTable): Promise<FileDamage | null> {
    return findMissing(delta);
  }

  /** Whether a damaged file is why something failed: the one; else null. */
  async causeOf(thrown: unknown, delta: DeltaTable): Promise<FileDamage | null> {
    const mayBe = thrown instanceof SluiceError && thrown.kind === "destination" && faultOf(thrown) === "permanent";
    if (!mayBe || !delta.exists) return null;
    const untilMs = performance.now() + searchMsMax;
    const [found = null] = await findDamaged(delta, this.session, { max: 1, untilMs }).catch(() => []);
    return found;
  }

  check(delta: DeltaTable, path: string): Promise<FileDamage | null> {
    return checkFile(delta, path, this.session);
  }

  /** Every file is read. */
  all(delta: DeltaTable): Promise<FileDamage[]> {
    const unbounded = Number.POSITIVE_INFINITY;
    return findDamaged(delta, this.session, { max: unbounded, untilMs: unbounded });
  }

  /** Since the damage is known. */
  async isAccepted(sinceMs: number): Promise<boolean> {
    const acceptedAtMs = await historyLossAcceptedAtMs(this.store, this.id, this.tableId);
    return acceptedAtMs !== null && acceptedAtMs >= sinceMs;
  }

  forgetAcceptance(): Promise<void> {
    return forgetHistoryLoss(this.store, this.id, this.tableId);
  }
}

const resync = (label: string) => `sluice resync --config FILE --table ${label}`;

/** `isHistory`: the table has more than the source's rows of now. */
export function damagedFile(label: string, { reason, rows }: FileDamage, isHistory: boolean): SluiceError {
  return new SluiceError("destination", `${label}: ${reason}`, {
    remedy: isHistory
      ? `Restore the file (it has ${rows} rows). Or run ${resync(label)} --accept-history-loss: what the table's history has in damaged files is lost, the rest stays, and the rows of now are copied again.`
      : `Restore the file, or run ${resync(label)}: a new snapshot replaces all rows.`,
  });
}

/** A new snapshot is there, but something else would go with what is damaged. */
export function historyWouldGo(label: string, what: string, loss: string): SluiceError {
  return new SluiceError("destination", `${label}: ${what}; a new snapshot is staged, but doesn't hold its history`, {
    remedy: `Restore what is damaged. Or run ${resync(label)} --accept-history-loss: ${loss}.`,
  });
}
