import type { TypeChangeError } from "../destination/schema-evolution";
import { SluiceError } from "../errors";
import { log } from "../operate/log";
import { forgetHistoryLoss, historyLossAcceptedAtMs } from "../staging/history-loss";
import type { KnownTable, SharedContext } from "./table-state";
import type { TableTargets } from "./table-targets";

/** What is asked of a table whose history is at stake. */
interface TableAtStake {
  readonly tableId: string;
  readonly label: string;
  readonly known: KnownTable;
  readonly targets: Pick<TableTargets, "options">;
  readonly context: Pick<SharedContext, "id" | "records">;
}

/** Somebody's word (`sluice resync --accept-history-loss`) that a table may lose what its history has. */
export class LossAcceptance {
  /** the next commit takes what was accepted */
  private isUsed = false;

  constructor(private readonly table: TableAtStake) {}

  async isGiven(): Promise<boolean> {
    const { known, context, tableId } = this.table;
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
    const { label, targets, known } = this.table;
    if (targets.options(known).onChange !== "refresh") {
      if (!(await this.isGiven())) {
        throw new SluiceError("unsupported", message, {
          remedy: `Run ${resyncCommand(label)} --accept-history-loss, or give the table onChange: "refresh": it begins anew with the rows of now, and its history is lost. Until then it stays as it is.`,
        });
      }
      this.isUsed = true;
    }
    log("warning", "history-lost", { table: label, reason: change });
  }

  /** A batch is done: what it has taken is taken once. */
  async settle(): Promise<void> {
    if (this.isUsed) await this.forget();
  }

  async forget(): Promise<void> {
    const { context, tableId } = this.table;
    await forgetHistoryLoss(context.records.store, context.id, tableId);
    this.isUsed = false;
  }
}

export const resyncCommand = (label: string) => `sluice resync --config FILE --table ${label}`;
