import type { MaintenanceConfig } from "../config";
import { type PlanState, startPlan } from "../destination/apply-plan";
import { liveRows } from "../destination/delta/delta-snapshot";
import type { DuckDbSession } from "../destination/duckdb-session";
import { storedOptions } from "../destination/target-metadata";
import type { StoredOptions } from "../destination/target-table";
import type { ApplierProgress } from "../staging/applier-progress";
import { type NamedTableOptions, type OnRemove, onRemoveOf } from "../table-options";
import { compareOptions, type OptionsChange } from "../table-options-change";
import type { StagedRecords } from "./staged-records";
import type { TableFailure } from "./table-failure";
import { heldSequence, isOwned, type Place, type TableHome, type TableOwner, tableOwner } from "./table-home";
import type { TableRuns } from "./table-runs";
import { TableTargets } from "./table-targets";

/** What all tables of an applier share, wherever they are. */
export interface SharedContext {
  /** of the applier */
  id: string;
  records: StagedRecords;
  logId: string;
  /** options of tables that aren't as the defaults have them */
  tables: NamedTableOptions[];
  onRemove: OnRemove;
  maintenance: MaintenanceConfig;
  runs: TableRuns;
  /** staged changes of one batch, in bytes of their files */
  batchBytesMax: number;
  /** What is known of all tables is durable. */
  saveProgress(): Promise<void>;
}

/** The same of tables in a folder. */
export interface TableContext extends SharedContext {
  session: DuckDbSession;
  destinationPath: string;
  engineInfo: string;
}

export type KnownTable = ApplierProgress["tables"][string];

/** What is known of one table now, by all that work on it: where it is, what is to be done, what is wrong. */
export class TableState {
  home: TableHome | null = null;
  plan: PlanState | null = null;
  failure: TableFailure | null = null;
  /** its newest name is still to come, and its older one is another's */
  waits = false;
  /** staging no longer has what comes after the table's position: only a new snapshot helps */
  lacksPurged = false;
  /** damaged files whose loss is accepted: they go with the next batch */
  lost: ReadonlySet<string> = new Set();
  rows = 0;
  readonly targets: TableTargets;
  readonly owner: TableOwner;

  /** `known`: from this process or an earlier one; a new table has `heldSequence` null and the record before its first. */
  constructor(
    readonly tableId: string,
    public known: KnownTable,
    readonly context: TableContext,
  ) {
    const { logId, records, tables } = context;
    this.targets = new TableTargets(tableId, records.store, tables);
    this.owner = tableOwner(logId, tableId);
  }

  get label(): string {
    return `${this.known.schema}.${this.known.name}`;
  }

  /** Where its rows are, or will be. */
  get place(): Place {
    return this.known.place ?? this.targets.placeOf(this.known);
  }

  get isQuarantined(): boolean {
    return this.failure !== null && this.failure.quarantinedAtMs !== null;
  }

  /** It has more than the source's rows of now. */
  get keepsHistory(): boolean {
    return this.targets.options(this.known).mode !== "scd1";
  }

  /** By which options the rows of now were made. */
  get stored(): StoredOptions | null {
    return storedOptions(this.home?.delta.snapshot.metaData ?? null, this.tableId);
  }

  /** What the pipeline's options are to the rows of now. */
  get optionsChange(): OptionsChange {
    const { stored } = this;
    return stored === null ? { kind: "none" } : compareOptions(stored.options, this.targets.options(this.known));
  }

  get onRemove(): OnRemove {
    const { tables, onRemove } = this.context;
    return onRemoveOf(tables, this.known, this.stored?.options ?? null, onRemove);
  }

  /** Nothing can be written now but a new snapshot, or at another place. */
  get isBlocked(): boolean {
    return this.waits || this.lacksPurged || this.home?.isDisplaced === true || this.optionsChange.kind === "refresh";
  }

  /** Has all that is staged up to here, as far as that can be applied yet. */
  get doneSequence(): number {
    if (this.plan === null) return this.known.sequence;
    return this.waits || this.plan.ready.steps.length === 0 ? this.plan.scannedSequence : this.plan.baseSequence;
  }

  /** The staged sequence that the table holds, by its own log. */
  get held(): number | null {
    return this.home === null ? null : heldSequence(this.home.delta, this.owner);
  }

  /** The home, where the table's rows are there and nobody else's. */
  get ownHome(): TableHome | null {
    return this.home !== null && isOwned(this.home.delta, this.owner) ? this.home : null;
  }

  newPlan(sequence: number, removed: boolean): PlanState {
    return startPlan(sequence, removed, this.keepsHistory);
  }

  setPlan(plan: PlanState): void {
    this.plan = plan;
    // A table that lacks something must be known as such by the next process too.
    if (this.lacksPurged) {
      this.known = { ...this.known, removed: plan.removed };
      return;
    }
    this.known = { ...this.known, removed: plan.removed, heldSequence: this.held, sequence: plan.baseSequence };
  }

  setHome(home: TableHome): void {
    this.home = home;
    this.known = { ...this.known, place: { ...home.place } };
    this.rows = liveRows(home.delta.snapshot);
    this.targets.remember(storedOptions(home.delta.snapshot.metaData, this.tableId));
  }

  /** What is known of the table may be wrong now: it is opened and read again. */
  forget(): void {
    this.home = null;
    this.plan = null;
    this.lost = new Set();
  }
}
