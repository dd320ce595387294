import type { PlanState } from "../destination/apply-plan";
import { checkFile, type FileDamage, findDamaged, findMissing } from "../destination/damaged-files";
import type { TypeChangeError } from "../destination/schema-evolution";
import { SluiceError } from "../errors";
import { log } from "../operate/log";
import { forgetHistoryLoss, historyLossAcceptedAtMs } from "../staging/history-loss";
import { faultOf } from "../staging/storage-fault";
import type { TableHome } from "./table-home";
import type { TableState } from "./table-state";

/** How long the file is looked for that made a batch fail. */
const searchMsMax = 30_000;

/** Which of a table's files are damaged, what heals it, and whether somebody accepts what that costs. */
export class TableDamage {
  /** no damaged file was found behind the trouble that goes on */
  private isSearchVain = false;
  /** the next commit takes what was accepted */
  private hasUsedAcceptance = false;

  constructor(private readonly state: TableState) {}

  /** At a start: a file that isn't there, or is cut off, is known as damaged. */
  async lookForMissing(): Promise<void> {
    const { state } = this;
    const { home, known } = state;
    if (state.held === null || known.damagedFile !== undefined || home?.isDisplaced !== false) return;
    const missing = await findMissing(home.delta);
    if (missing !== null) state.known = { ...known, damagedFile: missing.path };
  }

  /** The damaged file that made something fail; null when it isn't one, or is known already. */
  async causeOf(thrown: unknown): Promise<SluiceError | null> {
    const { state } = this;
    const home = state.ownHome;
    const mayBe = thrown instanceof SluiceError && thrown.kind === "destination" && faultOf(thrown) === "permanent";
    if (!mayBe || this.isSearchVain || home === null || state.known.damagedFile !== undefined) return null;
    const untilMs = performance.now() + searchMsMax;
    const [cause] = await findDamaged(home.delta, state.context.session, { max: 1, untilMs }).catch(() => []);
    this.isSearchVain = cause === undefined;
    if (cause === undefined) return null;
    state.known = { ...state.known, damagedFile: cause.path };
    return damagedFile(state.label, cause, state.keepsHistory);
  }

  /**
   * A table with a damaged file waits until the file is whole again, or a new snapshot is there; where its history goes
   * with the file, also until that is accepted.
   * @throws SluiceError `destination` while it waits
   */
  async check(plan: PlanState): Promise<void> {
    const { state } = this;
    const { session } = state.context;
    const { delta } = state.home as TableHome;
    if (state.known.damagedFile === undefined) return;
    const found = await checkFile(delta, state.known.damagedFile, session);
    if (found === null) return this.forget();
    const isHealed = plan.ready.steps.some(({ kind }) => kind === "replace");
    if (!isHealed) throw damagedFile(state.label, found, state.keepsHistory);
    if (!state.keepsHistory) return;
    await this.requireAcceptance(found.reason, "what the table's history has in damaged files is lost, the rest stays");
    const unbounded = Number.POSITIVE_INFINITY;
    const all = await findDamaged(delta, session, { max: unbounded, untilMs: unbounded });
    state.lost = new Set(all.map(({ path }) => path));
    const rows = all.reduce((sum, file) => sum + file.rows, 0);
    log("warning", "history-lost", { table: state.label, files: all.map(({ reason }) => reason), rows });
  }

  /** A new snapshot is there, but what is damaged has more than it. @throws SluiceError `destination` until it may go */
  async requireAcceptance(what: string, loss: string): Promise<void> {
    const { label } = this.state;
    if (await this.isAccepted()) return;
    throw new SluiceError("destination", `${label}: ${what}; a new snapshot is staged, but doesn't hold its history`, {
      remedy: `Restore what is damaged. Or run ${resync(label)} --accept-history-loss: ${loss}.`,
    });
  }

  private async isAccepted(): Promise<boolean> {
    const { known, context, tableId } = this.state;
    const { quarantinedAt } = known;
    const acceptedAtMs = await historyLossAcceptedAtMs(context.records.store, context.id, tableId);
    // What was accepted before the damage was known was something else.
    return quarantinedAt !== undefined && acceptedAtMs !== null && acceptedAtMs >= Date.parse(quarantinedAt);
  }

  /**
   * A new snapshot's types don't hold what the table's history has: it begins anew, by its option or somebody's word.
   * @throws SluiceError `unsupported` until it may
   */
  async acceptTypeChange({ message, change }: TypeChangeError): Promise<void> {
    const { label, targets, known } = this.state;
    if (targets.options(known).onChange !== "refresh") {
      if (!(await this.isAccepted())) {
        throw new SluiceError("unsupported", message, {
          remedy: `Run ${resync(label)} --accept-history-loss, or give the table onChange: "refresh": it begins anew with the rows of now, and its history is lost. Until then it stays as it is.`,
        });
      }
      this.hasUsedAcceptance = true;
    }
    log("warning", "history-lost", { table: label, reason: change });
  }

  async forgetAcceptance(): Promise<void> {
    const { context, tableId } = this.state;
    await forgetHistoryLoss(context.records.store, context.id, tableId);
  }

  /** The table is whole: after a batch that healed it, too. */
  async forget(): Promise<void> {
    const { state } = this;
    if (state.lost.size > 0 || this.hasUsedAcceptance) await this.forgetAcceptance();
    this.hasUsedAcceptance = false;
    const { damagedFile: _whole, ...known } = state.known;
    state.known = known;
    state.lost = new Set();
    this.isSearchVain = false;
  }
}

const resync = (label: string) => `sluice resync --config FILE --table ${label}`;

function damagedFile(label: string, { reason, rows }: FileDamage, keepsHistory: boolean): SluiceError {
  return new SluiceError("destination", `${label}: ${reason}`, {
    remedy: keepsHistory
      ? `Restore the file (it has ${rows} rows). Or run ${resync(label)} --accept-history-loss: what the table's history has in damaged files is lost, the rest stays, and the rows of now are copied again.`
      : `Restore the file, or run ${resync(label)}: a new snapshot replaces all rows.`,
  });
}
