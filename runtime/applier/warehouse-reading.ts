import { foldRecord, type PlanState, sinceSnapshot, startPlan } from "../destination/apply-plan";
import { isWhole, wholeSequence } from "../destination/databricks/position";
import type { Warehouse } from "../destination/databricks/warehouse";
import { WarehouseTable } from "../destination/databricks/warehouse-table";
import { SluiceError } from "../errors";
import { log } from "../operate/log";
import { requestSnapshot } from "../staging/resync-request";
import { type OnRemove, onRemoveOf } from "../table-options";
import { compareOptions, type OptionsChange } from "../table-options-change";
import type { TableFailure } from "./table-failure";
import { isSamePlace, type Place } from "./table-home";
import type { KnownTable, SharedContext } from "./table-state";
import { TableTargets } from "./table-targets";

/** Records folded in one turn, so that tables take turns. */
const recordsMax = 500;

/** Tables of a warehouse and what they share. */
export interface WarehouseContext extends SharedContext {
  warehouse: Warehouse;
  /** where tables go that name no schema of their own */
  defaultSchema: string;
}

/** What is known of one table of a warehouse: where it is, what is to be done, what is wrong. */
export class WarehouseState {
  home: WarehouseTable | null = null;
  plan: PlanState | null = null;
  failure: TableFailure | null = null;
  /** another table of ours has its place: it waits for a name that is still to come */
  waits = false;
  /** staging no longer has what comes after the table's position: only a new snapshot helps */
  lacksPurged = false;
  /** staged changes of its next batch, in bytes of their files: as many as the warehouse can take in time */
  batchBytesMax: number;
  readonly targets: TableTargets;

  constructor(
    readonly tableId: string,
    public known: KnownTable,
    readonly context: WarehouseContext,
  ) {
    this.targets = new TableTargets(tableId, context.records.store, context.tables);
    this.batchBytesMax = context.batchBytesMax;
  }

  get label(): string {
    return `${this.known.schema}.${this.known.name}`;
  }

  get place(): Place {
    return this.known.place ?? this.placeOf(this.known);
  }

  /** All tables are in the destination's schema, but those that name one of their own. */
  placeOf(source: Place): Place {
    const { destination } = this.targets.options(source);
    return { schema: destination?.schema ?? this.context.defaultSchema, name: destination?.name ?? source.name };
  }

  get isQuarantined(): boolean {
    return this.failure !== null && this.failure.quarantinedAtMs !== null;
  }

  get keepsHistory(): boolean {
    return this.targets.options(this.known).mode !== "scd1";
  }

  get optionsChange(): OptionsChange {
    const stored = this.home?.stored ?? null;
    return stored === null ? { kind: "none" } : compareOptions(stored.options, this.targets.options(this.known));
  }

  get onRemove(): OnRemove {
    const { tables, onRemove } = this.context;
    return onRemoveOf(tables, this.known, this.home?.stored?.options ?? null, onRemove);
  }

  /** The staged sequence that the table has whole. */
  get held(): number | null {
    const position = this.home?.position ?? null;
    return position === null ? null : wholeSequence(position);
  }

  get doneSequence(): number {
    if (this.plan === null) return this.known.sequence;
    return this.plan.ready.steps.length === 0 ? this.plan.scannedSequence : this.plan.baseSequence;
  }

  setHome(home: WarehouseTable): void {
    this.home = home;
    this.known = { ...this.known, place: { ...home.place } };
    this.targets.remember(home.stored);
  }

  setPlan(plan: PlanState): void {
    this.plan = plan;
    this.known = this.lacksPurged
      ? { ...this.known, removed: plan.removed }
      : { ...this.known, removed: plan.removed, heldSequence: this.held, sequence: plan.baseSequence };
  }

  forget(): void {
    this.home = null;
    this.plan = null;
  }

  /** A table's name of its own, between two places. */
  get between(): Place {
    return { schema: this.place.schema, name: `_sluice_${this.context.logId.slice(0, 8)}_${this.tableId}` };
  }
}

/** Finds a table and its position, and folds what is staged behind it into a plan. */
export class WarehouseReading {
  constructor(private readonly state: WarehouseState) {}

  /** What is to be done next, as far as it is staged. */
  async fold(): Promise<PlanState> {
    const { state } = this;
    const generation = await state.context.warehouse.ready();
    if (state.home === null || state.home.generation !== generation) {
      state.forget();
      state.setHome(await this.findHome());
    }
    if (state.known.dropping) await this.drop();
    let plan = state.plan ?? startPlan(await this.startSequence(), state.known.removed, state.keepsHistory);
    const begun = await this.begunPlan(plan);
    plan = begun ?? (await this.foldOn(plan));
    state.setPlan(plan);
    return plan;
  }

  /** A plan that was begun is carried out as it was, unless a later snapshot makes it needless. */
  private async begunPlan(start: PlanState): Promise<PlanState | null> {
    const { state } = this;
    const position = state.home?.position ?? null;
    if (position === null || isWhole(position) || state.lacksPurged || state.optionsChange.kind === "refresh")
      return null;
    const { records } = state.context;
    const fresh = startPlan(position.base, start.removed, state.keepsHistory);
    if (state.isQuarantined) {
      const ahead = await this.foldTo(fresh, records.head);
      if (sinceSnapshot(ahead.ready).steps.length > 0) return ahead;
    }
    return this.foldTo(fresh, position.sequence);
  }

  private async foldTo(start: PlanState, last: number): Promise<PlanState> {
    const { records } = this.state.context;
    let plan = start;
    while (plan.scannedSequence < last) {
      const record = await records.read(plan.scannedSequence + 1);
      plan = foldRecord(plan, record, record.events.get(this.state.tableId) ?? []);
    }
    return plan;
  }

  /** What a table waits for that can't go on may be anywhere in the log: a new name, or the snapshot that heals it. */
  private async foldOn(start: PlanState): Promise<PlanState> {
    const { state } = this;
    if (state.waits || state.lacksPurged || state.optionsChange.kind === "refresh") return this.foldFrom(start, true);
    if (!state.isQuarantined) return this.foldFrom(start, false);
    const ahead = await this.foldFrom(start, true);
    // Without a snapshot it goes on in batches of the usual size; what was dropped on the way is dropped.
    const isHealed = sinceSnapshot(ahead.ready).steps.length > 0 || ahead.removed !== start.removed;
    return isHealed || ahead.baseSequence !== start.baseSequence ? ahead : this.foldFrom(start, false);
  }

  private async foldFrom(start: PlanState, looksAhead: boolean): Promise<PlanState> {
    const { state } = this;
    const { batchBytesMax } = state;
    const { records, saveProgress } = state.context;
    let plan = start;
    let isThere = !state.known.removed;
    const last = Math.min(records.head, looksAhead ? records.head : plan.scannedSequence + recordsMax);
    while (plan.scannedSequence < last && (looksAhead || plan.ready.changeBytes < batchBytesMax)) {
      plan = await this.foldTo(plan, plan.scannedSequence + 1);
      if (!plan.removed) isThere = true;
      if (!plan.removed || !isThere || state.onRemove === "keep") continue;
      isThere = false;
      // Nothing of before counts any more, and what may come after is another snapshot.
      const { scannedSequence: sequence } = plan;
      state.known = { ...state.known, removed: true, dropping: true, heldSequence: null, sequence };
      await saveProgress();
      await this.drop();
      plan = startPlan(sequence, true, state.keepsHistory);
    }
    return plan;
  }

  /** The table has left: what the destination has of it goes. */
  private async drop(): Promise<void> {
    const { state } = this;
    if (state.home?.isOwned === true) {
      await state.home.drop();
      log("info", "table-dropped", { table: state.label });
    }
    const { dropping: _done, quarantinedAt: _over, ...known } = state.known;
    state.known = known;
    state.lacksPurged = false;
    state.setHome(await this.findHome());
  }

  /** The table's own position decides; what is known beside it only when the two agree. */
  private async startSequence(): Promise<number> {
    const { state } = this;
    const { heldSequence, sequence } = state.known;
    const { records } = state.context;
    const { head } = records;
    const { held } = state;
    if (held !== null && held > head) {
      throw new SluiceError("staging", `${state.label} holds staged commit ${held}, but staging ends at ${head}`, {
        remedy: "Staging was set back: restore it, or replace the gateway to take new snapshots of all tables.",
      });
    }
    const known = held === null ? (heldSequence === null ? sequence : 0) : held;
    const isBegun = state.home?.position != null && !isWhole(state.home.position);
    const start = held !== null && held >= (heldSequence ?? 0) && !isBegun ? Math.max(held, sequence) : known;
    const tail = await records.tail();
    state.lacksPurged = start < head && start + 1 < tail;
    if (state.lacksPurged) return tail - 1;
    if (!(await this.awaitsSnapshot())) return start;
    state.lacksPurged = true;
    return state.known.sequence;
  }

  /**
   * The rows of now are another log's, which was applied on while this one had begun. A table that keeps what was asks for
   * another snapshot, which is newer than they are (as in the local applier).
   */
  private async awaitsSnapshot(): Promise<boolean> {
    const { state } = this;
    const { known, home, context, tableId } = state;
    if (state.held !== null || known.heldSequence !== null || home === null) return false;
    if (known.awaitsSnapshot === true) return true;
    if (!state.keepsHistory || home.stored === null || home.isOwned || home.logId === context.logId) return false;
    const newest = (await this.newestTables())[tableId];
    if (newest === undefined) return false;
    await requestSnapshot(context.records.store, tableId, newest.snapshotId);
    state.known = { ...known, awaitsSnapshot: true, sequence: context.records.head };
    await context.saveProgress();
    log("info", "table-copied-again", {
      table: state.label,
      reason: "it keeps history, and may have changes that are newer than the new staging's snapshot",
    });
    return true;
  }

  /** The table, at one of the places where it may be; else the place where it will be. */
  private async findHome(): Promise<WarehouseTable> {
    const { state } = this;
    const { context, tableId, known } = state;
    const owner = { logId: context.logId, tableId };
    const newest = (await this.newestTables())[tableId];
    const places = [
      state.place,
      state.placeOf(known),
      ...(newest === undefined ? [] : [state.placeOf(newest)]),
      state.between,
    ];
    let first: WarehouseTable | null = null;
    for (const [at, place] of places.entries()) {
      if (places.findIndex((each) => isSamePlace(each, place)) < at) continue;
      const found = await WarehouseTable.open(context.warehouse, place, owner);
      if (found.isSame) return found;
      first ??= found;
    }
    return first as WarehouseTable;
  }

  async newestTables() {
    const { records } = this.state.context;
    return records.head === 0 ? {} : (await records.read(records.head)).tables;
  }
}
