import { afterApply, type PlanState, schemaAfter, stagedBytes } from "../destination/apply-plan";
import { applyBatch, type BatchContext } from "../destination/databricks/apply-batch";
import { formatPosition, isWhole } from "../destination/databricks/position";
import { warehouseProperties } from "../destination/databricks/warehouse-properties";
import { WarehouseTable } from "../destination/databricks/warehouse-table";
import { needsSnapshot } from "../destination/table-apply";
import { describeError, SluiceError } from "../errors";
import { log } from "../operate/log";
import type { ApplierTableStatus } from "../status";
import type { AppliedTable } from "./applied-table";
import { decideApply } from "./apply-decision";
import { LossAcceptance } from "./loss-acceptance";
import { needsPurged, toSluiceError } from "./table-errors";
import { isSamePlace, type Place } from "./table-home";
import { noMaintenance, tableCondition } from "./table-maintenance";
import { type Attempt, failPercentOf, type RunTable } from "./table-runs";
import type { KnownTable } from "./table-state";
import { failedState } from "./table-status";
import { isDue, noteFailure, noteSuccess, retryNow, waitMs } from "./table-turns";
import { type WarehouseContext, WarehouseReading, WarehouseState } from "./warehouse-reading";

type Done = Omit<Attempt, "startedAtMs" | "durationMs" | "failure">;

/** What a batch is made of at least, where statements took too long. */
const batchBytesMin = 64 * 1024;

/** The position is in the table's history, which Delta keeps for 30 days by default: a property has it for longer. */
const keepPositionMs = 86_400_000;

/** One table on its way from staging to a table of a warehouse. */
export class WarehouseTableApplier implements AppliedTable {
  private readonly state: WarehouseState;
  private readonly reading: WarehouseReading;
  private readonly acceptance: LossAcceptance;
  private running = false;
  private done: Done | null = null;
  private readonly total = { upserted: 0, deleted: 0, dropped: 0, durationMs: 0 };
  private keptAtMs = performance.now();

  constructor(
    readonly tableId: string,
    known: KnownTable,
    private readonly context: WarehouseContext,
  ) {
    this.state = new WarehouseState(tableId, known, context);
    this.reading = new WarehouseReading(this.state);
    this.acceptance = new LossAcceptance(this.state);
  }

  get doneSequence(): number {
    return this.state.doneSequence;
  }

  get error(): SluiceError | null {
    return this.state.failure?.error ?? null;
  }

  get isPresent(): boolean {
    return !this.state.known.removed;
  }

  get place(): Place {
    return this.state.place;
  }

  isDue(nowMs: number): boolean {
    return isDue(this.state, this.context.records.head, nowMs);
  }

  snapshotStaged(): void {
    if (this.state.isQuarantined) this.retry();
  }

  retry(): void {
    retryNow(this.state);
  }

  waitMs(goal: number, nowMs: number): number | null {
    return waitMs(this.state, goal, nowMs);
  }

  async advance(nowMs: number): Promise<void> {
    const { state } = this;
    this.running = true;
    this.done = null;
    const startedMs = performance.now();
    try {
      const plan = await this.reading.fold();
      if (plan.ready.steps.length > 0) await this.apply(plan);
      else if (state.lacksPurged && state.known.awaitsSnapshot !== true)
        throw needsPurged(state.label, plan.baseSequence);
      noteSuccess(state);
    } catch (thrown) {
      this.failed(toSluiceError(thrown, state.label), nowMs);
    }
    this.running = false;
    const durationMs = Math.round(performance.now() - startedMs);
    if (this.done === null && state.failure === null) return;
    const { failure } = state;
    const done: Done = this.done ?? { upserted: 0, deleted: 0, dropped: 0, bytes: 0 };
    const told = failure === null ? null : { error: failure.error, isQuarantined: state.isQuarantined };
    this.total.upserted += done.upserted;
    this.total.deleted += done.deleted;
    this.total.dropped += done.dropped;
    this.total.durationMs += durationMs;
    this.context.runs.record(this.runTable(), { startedAtMs: nowMs, durationMs, ...done, failure: told });
  }

  private failed(error: SluiceError, nowMs: number): void {
    const { state } = this;
    // Half as much may come in time; without it, the same statement would take as long again.
    if (error.kind === "timeout") state.batchBytesMax = Math.max(batchBytesMin, Math.floor(state.batchBytesMax / 2));
    noteFailure(state, error, nowMs);
  }

  private async apply({ ready, baseSequence, keepsHistory }: PlanState): Promise<void> {
    const { state, context } = this;
    const source = await state.targets.schema(schemaAfter(ready) as number);
    const home = await this.moved(state.placeOf(source));
    const isRival = home.exists && !home.isSame && home.logId === context.logId;
    const decision = decideApply({
      ready,
      change: state.optionsChange,
      lacksPurged: state.lacksPurged,
      isQuarantined: state.isQuarantined,
      isDisplaced: false,
      isTaken: isRival,
      isRightful: false,
      isRightfullyTaken: false,
      keepsHistory,
      isHeld: state.held !== null,
    });
    state.waits = decision.kind === "waiting";
    if (decision.kind === "waiting") throw placeTaken(state.label, home.name);
    if (decision.kind === "blocked") {
      // A snapshot that was asked for is still to come.
      if (decision.by === "purged" && state.known.awaitsSnapshot === true) return;
      throw decision.by === "options"
        ? needsSnapshot(state.label, decision.reason)
        : needsPurged(state.label, baseSequence);
    }
    const { plan, isReplaced } = decision;
    if (!isReplaced && !home.isOwned) {
      throw new SluiceError("destination", `table ${home.name} is now written by another pipeline`, {
        remedy: "Give each pipeline its own catalog or schema.",
      });
    }
    await applyBatch(home, plan, baseSequence, keepsHistory, this.batchContext());
    await this.acceptance.settle();
    state.batchBytesMax = Math.min(context.batchBytesMax, state.batchBytesMax * 2);
    state.lacksPurged = false;
    const { awaitsSnapshot: _came, ...known } = state.known;
    state.known = { ...known, schema: source.schema, name: source.name };
    const { upserted, deleted, dropped, sequence } = plan;
    const span = { fromSequence: baseSequence + 1, toSequence: sequence };
    this.done = { upserted, deleted, dropped, bytes: stagedBytes(plan), ...span };
    state.setHome(home);
    state.setPlan(afterApply(state.plan as PlanState));
  }

  /** The table at the place of its newest name; a place that another table of ours has is waited for. */
  private async moved(place: Place): Promise<WarehouseTable> {
    const { state, context } = this;
    const home = state.home as WarehouseTable;
    if (isSamePlace(home.place, place)) return home;
    const owner = { logId: context.logId, tableId: this.tableId };
    const there = await WarehouseTable.open(context.warehouse, place, owner);
    if (!home.exists || there.isSame) {
      state.setHome(there);
      return there;
    }
    if (!there.exists) {
      await home.move(place);
      const moved = await WarehouseTable.open(context.warehouse, place, owner);
      state.setHome(moved);
      return moved;
    }
    // Names that tables take from each other: whoever waits leaves its own.
    if (!isSamePlace(home.place, state.between) && there.logId === context.logId) {
      await home.move(state.between);
      state.setHome(await WarehouseTable.open(context.warehouse, state.between, owner));
    }
    state.waits = true;
    throw placeTaken(state.label, there.name);
  }

  private batchContext(): BatchContext {
    const { state, context } = this;
    return {
      logId: context.logId,
      tableId: this.tableId,
      schema: (schemaId) => state.targets.schema(schemaId),
      target: (schemaId) => state.targets.target(schemaId),
      loseHistory: (error) => this.acceptance.acceptTypeChange(error),
    };
  }

  /** The warehouse looks after files itself; the position is kept beyond the history's retention. */
  async maintain(): Promise<null> {
    const { home, failure } = this.state;
    const position = home?.position ?? null;
    if (home === null || failure !== null || position === null || !isWhole(position)) return null;
    if (performance.now() - this.keptAtMs < keepPositionMs) return null;
    this.keptAtMs = performance.now();
    await home.set([[warehouseProperties.position, formatPosition(position)]]).catch((error: unknown) => {
      log("warning", "position-not-kept", { table: this.state.label, error: describeError(error) });
    });
    return null;
  }

  runTable(): RunTable {
    const { known, targets } = this.state;
    const { schema, name } = known;
    return { tableId: this.tableId, schema, name, mode: targets.options(known).mode };
  }

  progress(): KnownTable {
    return this.state.known;
  }

  status(): ApplierTableStatus {
    const { state } = this;
    const runs = this.context.runs.recent(this.tableId);
    return {
      ...this.runTable(),
      type: "delta",
      state: this.stateOf(),
      rows: state.home?.rows ?? 0,
      ...this.total,
      deltaVersion: state.home?.version ?? null,
      failPercent: failPercentOf(runs),
      runs,
      appliedSequence: state.known.sequence,
      ...tableCondition([]),
      maintenance: noMaintenance(),
      path: this.context.warehouse.table(state.place),
    };
  }

  private stateOf(): ApplierTableStatus["state"] {
    const { failure, known, home } = this.state;
    if (failure !== null) return failedState(failure);
    if (this.running) return { kind: "running" };
    if (known.removed) return { kind: "removed" };
    return home?.exists === true && known.awaitsSnapshot !== true ? { kind: "idle" } : { kind: "waiting" };
  }
}

function placeTaken(label: string, name: string): SluiceError {
  return new SluiceError("conflict", `${label}: another table of this pipeline has ${name} now`, {
    remedy: "The table goes on as soon as that one has left the place; or give one of them another destination.",
  });
}
