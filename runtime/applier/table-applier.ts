import { keyColumns } from "../change/table-schema";
import { afterApply, lacksBeforeImages, type PlanState, schemaAfter, stagedBytes } from "../destination/apply-plan";
import { applyPlan } from "../destination/table-apply";
import { tableColumns } from "../destination/table-columns";
import { clusterNames } from "../destination/target-metadata";
import { SluiceError } from "../errors";
import { log } from "../operate/log";
import type { ApplierTableStatus } from "../status";
import type { AppliedTable } from "./applied-table";
import { decideApply } from "./apply-decision";
import { TableDamage } from "./table-damage";
import { blocked, fullDisk, needsPurged, toSluiceError } from "./table-errors";
import { assertOwned, heldSequence, isSamePlace, openPlace, type Place, type TableHome, takenBy } from "./table-home";
import { ConditionMemo, TableMaintenance } from "./table-maintenance";
import { TableReading } from "./table-reading";
import type { Attempt } from "./table-runs";
import { type KnownTable, type TableContext, TableState } from "./table-state";
import { describeTable, runTable } from "./table-status";
import { isDue, noteFailure, noteSuccess, retryNow, waitMs } from "./table-turns";

const attemptsMax = 5;

type Done = Omit<Attempt, "startedAtMs" | "durationMs" | "failure">;

/** One table on its way from staging to the destination: its position, its plan, its last failure. */
export class TableApplier implements AppliedTable {
  private readonly state: TableState;
  private readonly damage: TableDamage;
  private readonly reading: TableReading;
  private readonly maintenance: TableMaintenance;
  private readonly condition = new ConditionMemo();
  private running = false;
  /** what the turn has applied */
  private done: Done | null = null;
  private hasWarned = false;

  /** `known`: from this process or an earlier one; a new table has `heldSequence` null and the record before its first. */
  constructor(
    readonly tableId: string,
    known: KnownTable,
    private readonly context: TableContext,
  ) {
    this.state = new TableState(tableId, known, context);
    this.damage = new TableDamage(this.state);
    this.reading = new TableReading(this.state, this.damage);
    this.maintenance = new TableMaintenance(context.session, context.maintenance, context.engineInfo);
  }

  /** Has all that is staged up to here, as far as that can be applied yet. */
  get doneSequence(): number {
    return this.state.doneSequence;
  }

  get error(): SluiceError | null {
    return this.state.failure?.error ?? null;
  }

  /** Still in the publication. */
  get isPresent(): boolean {
    return !this.state.known.removed;
  }

  /** Where its rows are, or will be. */
  get place(): Place {
    return this.state.place;
  }

  isDue(nowMs: number): boolean {
    return isDue(this.state, this.context.records.head, nowMs);
  }

  /** A new snapshot of it is staged: it may heal. */
  snapshotStaged(): void {
    if (this.state.isQuarantined) this.retry();
  }

  /** A failed table is due now. */
  retry(): void {
    retryNow(this.state);
  }

  /** How long until something can be done towards `goal`, 0 for at once; null when that is reached or hopeless. */
  waitMs(goal: number, nowMs: number): number | null {
    return waitMs(this.state, goal, nowMs);
  }

  /**
   * Reads on in the log and applies what it finds. Never throws: a failure is kept, told in the status, and retried or
   * quarantined.
   */
  async advance(nowMs: number): Promise<void> {
    const { state } = this;
    this.running = true;
    this.done = null;
    const startedMs = performance.now();
    let failed = false;
    try {
      const plan = await this.reading.fold();
      await this.damage.check(plan);
      if (plan.ready.steps.length > 0) await this.apply(plan);
      else if (state.lacksPurged && state.known.awaitsSnapshot !== true)
        throw needsPurged(state.label, plan.baseSequence);
      noteSuccess(state);
    } catch (thrown) {
      this.failed(await this.explained(thrown), nowMs);
      failed = true;
    }
    this.running = false;
    if (this.done !== null || failed) this.recordRun(nowMs, performance.now() - startedMs);
  }

  private failed(thrown: unknown, nowMs: number): void {
    noteFailure(this.state, toSluiceError(thrown, this.state.label), nowMs);
  }

  /** A full disk, or a damaged file, says more than what has failed by it. */
  private async explained(thrown: unknown): Promise<unknown> {
    const { label, plan } = this.state;
    const bytes = plan === null ? 0 : stagedBytes(plan.ready);
    const full = await fullDisk(thrown, label, this.context.destinationPath, bytes);
    return full ?? (await this.damage.causeOf(thrown)) ?? thrown;
  }

  private recordRun(startedAtMs: number, durationMs: number): void {
    const { failure } = this.state;
    const done: Done = this.done ?? { upserted: 0, deleted: 0, dropped: 0, bytes: 0 };
    const told = failure === null ? null : { error: failure.error, isQuarantined: this.state.isQuarantined };
    const attempt = { startedAtMs, durationMs: Math.round(durationMs), ...done, failure: told };
    this.context.runs.record(this.runTable(), attempt);
  }

  runTable() {
    return runTable(this.state);
  }

  /** One run between batches. @returns bytes of files written anew; null when nothing was to be done */
  async maintain(bytesMax: number, mayVacuum: boolean): Promise<number | null> {
    const { state } = this;
    const home = state.ownHome;
    if (home === null || state.failure !== null || state.known.removed) return null;
    const bytes = await this.maintenance.run(home, state.label, {
      bytesMax,
      mayVacuum,
      keyNames: () => this.keyNames(home),
      clusterNames: clusterNames(home.delta.snapshot.metaData, this.tableId),
    });
    const cause = await this.damage.causeOf(this.maintenance.takeFailure());
    if (cause !== null) {
      this.failed(cause, Date.now());
      return 0;
    }
    if (bytes !== null) await this.maintenance.checkpoint(home.delta, state.label);
    return bytes;
  }

  /** Physical names of the key's columns; [] when it has none. */
  private async keyNames({ delta }: TableHome): Promise<string[]> {
    const { records } = this.context;
    const newest = (await records.read(records.head)).tables[this.tableId];
    if (newest === undefined) return [];
    const columns = tableColumns(delta.snapshot.metaData) ?? [];
    const key = keyColumns(await this.state.targets.schema(newest.schemaId));
    return key.map(
      ({ attributeNumber, physicalName }) =>
        columns.find((column) => column.attributeNumber === attributeNumber)?.physicalName ?? physicalName,
    );
  }

  private async apply({ ready, baseSequence, removed, keepsHistory }: PlanState): Promise<void> {
    const { state } = this;
    const home = state.home as TableHome;
    const source = await state.targets.schema(schemaAfter(ready) as number);
    const place = state.targets.placeOf(source);
    const stays = isSamePlace(place, home.place);
    const delta = stays && !home.isDisplaced ? home.delta : await openPlace(place, this.context);
    const rival = takenBy(delta, state.owner);
    const decision = decideApply({
      ready,
      change: state.optionsChange,
      lacksPurged: state.lacksPurged,
      // Without its damaged files it can take all that it lacks.
      isQuarantined: state.isQuarantined && state.lost.size === 0,
      isDisplaced: stays && home.isDisplaced,
      isTaken: rival !== null,
      isRightful: await this.reading.claims(this.tableId, place),
      isRightfullyTaken: rival !== null && (await this.reading.claims(rival, place)),
      keepsHistory,
      isHeld: state.held !== null,
    });
    const isAwaited = state.known.awaitsSnapshot === true && decision.kind === "blocked" && decision.by === "purged";
    state.waits = decision.kind === "waiting" || isAwaited;
    if (decision.kind === "waiting" || isAwaited) return;
    if (decision.kind === "blocked") throw blocked(decision, state.label, home, baseSequence);
    const { isReplaced, goesOn } = decision;
    const plan = { ...decision.plan, dropped: isReplaced ? await this.reading.passedOver(baseSequence) : 0 };
    const { schema, name } = source;
    const settle = (next: PlanState) => {
      state.known = { ...state.known, schema, name };
      state.setHome({ place, delta, isDisplaced: false });
      state.setPlan(next);
    };
    for (let attempt = 1; attempt <= attemptsMax; attempt++) {
      const held = heldSequence(delta, state.owner);
      if (held !== null && held > baseSequence) {
        // Another process of ours was here: what it has applied is not applied again.
        settle(state.newPlan(held, removed));
        return;
      }
      if (!isReplaced && !home.isDisplaced) assertOwned(home.delta, state.owner);
      if (await applyPlan(delta, plan, this.applyContext(), goesOn ? home.delta : delta)) {
        if (plan.steps.length < ready.steps.length) {
          log("warning", "changes-left-out", {
            table: state.label,
            reason: "a new snapshot holds what they have led to",
          });
        }
        this.warnOfMissing(plan);
        await this.damage.forget();
        state.lacksPurged = false;
        const { awaitsSnapshot: _came, ...known } = state.known;
        state.known = known;
        const { upserted, deleted, sequence } = plan;
        const span = { fromSequence: baseSequence + 1, toSequence: sequence, deltaVersion: delta.snapshot.version };
        this.done = { upserted, deleted, dropped: plan.dropped, bytes: stagedBytes(plan), ...span };
        settle(afterApply(state.plan as PlanState));
        await this.maintenance.checkpoint(delta, state.label);
        return;
      }
      await delta.refresh();
    }
    throw new SluiceError("conflict", `${state.label}: other writers were first ${attemptsMax} times`, {
      remedy: "Stop other writers of the table; this is tried again by itself.",
    });
  }

  /** Once: nothing says later that rows before updates are wanted, but not staged. */
  private warnOfMissing(plan: PlanState["ready"]): void {
    const { known, targets, label } = this.state;
    if (this.hasWarned || !targets.options(known).beforeImage || !lacksBeforeImages(plan)) return;
    this.hasWarned = true;
    log("warning", "no-before-images", {
      table: label,
      reason: "changes are staged without the rows before updates",
      remedy: "Name the table in the gateway's beforeImages. Changes that were staged before have none.",
    });
  }

  private applyContext(): Parameters<typeof applyPlan>[2] {
    const { session, logId, engineInfo, batchBytesMax, records } = this.context;
    return {
      session,
      logId,
      engineInfo,
      batchBytesMax,
      appId: this.state.owner.appId,
      tableId: this.tableId,
      target: (schemaId) => this.state.targets.target(schemaId),
      stagedPath: (file) => records.store.localPath(file.path),
      releaseStaged: (file) => records.store.releaseLocal(file.path),
      lost: this.state.lost,
      loseHistory: (error) => this.damage.acceptance.acceptTypeChange(error),
    };
  }

  progress(): KnownTable {
    return this.state.known;
  }

  status(): ApplierTableStatus {
    const { running, condition, maintenance } = this;
    return describeTable(this.state, { running, condition, maintenance: maintenance.status });
  }
}
