import { keyColumns } from "../change/table-schema";
import type { MaintenanceConfig } from "../config";
import {
  afterApply,
  foldRecord,
  lacksBeforeImages,
  type PlanState,
  schemaAfter,
  stagedBytes,
  startPlan,
} from "../destination/apply-plan";
import { DamagedLogError } from "../destination/delta/delta-log";
import { liveRows } from "../destination/delta/delta-snapshot";
import type { DuckDbSession } from "../destination/duckdb-session";
import { applyPlan } from "../destination/table-apply";
import { tablePath } from "../destination/table-path";
import { clusterNames, storedOptions } from "../destination/target-metadata";
import type { StoredOptions } from "../destination/target-table";
import { describeError, SluiceError } from "../errors";
import { log } from "../operate/log";
import type { ApplierTableStatus } from "../status";
import { type NamedTableOptions, type OnRemove, onRemoveOf } from "../table-options";
import { compareOptions, type OptionsChange } from "../table-options-change";
import type { ApplierProgress } from "./applier-progress";
import { decideApply } from "./apply-decision";
import type { StagedRecords } from "./staged-records";
import { damagedFile, historyWouldGo, TableDamage } from "./table-damage";
import { type DropOutcome, dropTable } from "./table-drop";
import { blocked, fullDisk, needsPurged, notOurs, toSluiceError } from "./table-errors";
import { afterFailure, retryDelayMs, runAttemptsMax, type TableFailure } from "./table-failure";
import {
  assertOwned,
  findHome,
  heldSequence,
  isOwned,
  isSamePlace,
  openPlace,
  type Place,
  type TableHome,
  type TableOwner,
  takenBy,
} from "./table-home";
import { ConditionMemo, TableMaintenance, tableCondition } from "./table-maintenance";
import { changesBeforeSnapshot, setDamagedAside } from "./table-recovery";
import { type Attempt, failPercentOf, type TableRuns } from "./table-runs";
import { deltaCounters } from "./table-status";
import { TableTargets } from "./table-targets";

export interface TableContext {
  /** of the applier */
  id: string;
  records: StagedRecords;
  session: DuckDbSession;
  logId: string;
  destinationPath: string;
  /** options of tables that aren't as the defaults have them */
  tables: NamedTableOptions[];
  onRemove: OnRemove;
  maintenance: MaintenanceConfig;
  engineInfo: string;
  runs: TableRuns;
  /** staged changes of one batch, in bytes of their files */
  batchBytesMax: number;
  /** What is known of all tables is durable. */
  saveProgress(): Promise<void>;
}

type KnownTable = ApplierProgress["tables"][string];

/** Records folded in one turn, so that tables take turns. */
const recordsMax = 500;
const attemptsMax = 5;
const noFiles = tableCondition([]);

type Done = Omit<Attempt, "startedAtMs" | "durationMs" | "failure">;

/** One table on its way from staging to the destination: its position, its plan, its last failure. */
export class TableApplier {
  private home: TableHome | null = null;
  private plan: PlanState | null = null;
  private running = false;
  private failure: TableFailure | null = null;
  private readonly targets: TableTargets;
  private readonly maintenance: TableMaintenance;
  /** its newest name is still to come, and its older one is another's */
  private waits = false;
  /** staging no longer has what comes after the table's position: only a new snapshot helps */
  private lacksPurged = false;
  private readonly owner: TableOwner;
  private rows = 0;
  /** what the turn has applied */
  private done: Done | null = null;
  private readonly condition = new ConditionMemo();
  private hasWarned = false;
  private readonly damage: TableDamage;
  /** damaged files whose loss is accepted: they go with the next batch */
  private lost: ReadonlySet<string> = new Set();

  /** `known`: from this process or an earlier one; a new table has `heldSequence` null and the record before its first. */
  constructor(
    readonly tableId: string,
    private known: KnownTable,
    private readonly context: TableContext,
  ) {
    const { logId, records, tables, session, engineInfo } = context;
    this.maintenance = new TableMaintenance(session, context.maintenance, engineInfo);
    this.targets = new TableTargets(tableId, records.store, tables);
    this.damage = new TableDamage(tableId, context.id, records.store, session);
    this.owner = { tableId, logId, appId: `sluice-${logId}-${tableId}` };
  }

  /** Has all that is staged up to here, as far as that can be applied yet. */
  get doneSequence(): number {
    if (this.plan === null) return this.known.sequence;
    return this.waits || this.plan.ready.steps.length === 0 ? this.plan.scannedSequence : this.plan.baseSequence;
  }

  get error(): SluiceError | null {
    return this.failure?.error ?? null;
  }

  private get isQuarantined(): boolean {
    return this.failure !== null && this.failure.quarantinedAtMs !== null;
  }

  isDue(nowMs: number): boolean {
    if (this.failure !== null) return retryDelayMs(this.failure, nowMs) === 0;
    return this.plan === null || this.doneSequence < this.context.records.head;
  }

  /** A new snapshot of it is staged: it may heal. */
  snapshotStaged(): void {
    if (this.isQuarantined) this.retry();
  }

  /** A failed table is due now. */
  retry(): void {
    if (this.failure !== null) this.failure = { ...this.failure, retryAtMs: 0, count: 0 };
  }

  /** How long until something can be done towards `goal`, 0 for at once; null when that is reached or hopeless. */
  waitMs(goal: number, nowMs: number): number | null {
    if (this.failure === null) return this.doneSequence >= goal ? null : 0;
    const { count, quarantinedAtMs } = this.failure;
    const leftMs = retryDelayMs(this.failure, nowMs);
    return leftMs > 0 && (quarantinedAtMs !== null || count >= runAttemptsMax) ? null : leftMs;
  }

  /**
   * Reads on in the log and applies what it finds. Never throws: a failure is kept, told in the status, and retried or
   * quarantined.
   */
  async advance(nowMs: number): Promise<void> {
    this.running = true;
    this.done = null;
    const startedMs = performance.now();
    let failed = false;
    try {
      const plan = await this.fold();
      await this.checkDamage(plan);
      if (plan.ready.steps.length > 0) await this.apply(plan);
      else if (this.lacksPurged) throw needsPurged(this.label, plan.baseSequence);
      this.failure = null;
      const { quarantinedAt: _over, ...known } = this.known;
      this.known = known;
    } catch (thrown) {
      this.failed(await this.explained(thrown), nowMs);
      failed = true;
    }
    this.running = false;
    if (this.done !== null || failed) this.recordRun(nowMs, performance.now() - startedMs);
  }

  private failed(thrown: unknown, nowMs: number): void {
    const sinceMs = this.known.quarantinedAt === undefined ? nowMs : Date.parse(this.known.quarantinedAt);
    const failure = afterFailure(this.failure, toSluiceError(thrown, this.label), nowMs, sinceMs);
    this.failure = failure;
    const { quarantinedAtMs } = failure;
    if (quarantinedAtMs !== null) {
      this.known = { ...this.known, quarantinedAt: new Date(quarantinedAtMs).toISOString() };
    }
    log("warning", failure.quarantinedAtMs === null ? "table-failed" : "table-quarantined", {
      table: this.label,
      error: describeError(failure.error),
      retryMs: failure.retryAtMs - nowMs,
    });
    // What is known of the table may be wrong now: it is opened and read again.
    this.home = null;
    this.plan = null;
    this.lost = new Set();
  }

  /** A full disk, or a damaged file, says more than what has failed by it. */
  private async explained(thrown: unknown): Promise<unknown> {
    const { home, known } = this;
    const { destinationPath } = this.context;
    const full = await fullDisk(
      thrown,
      this.label,
      destinationPath,
      this.plan === null ? 0 : stagedBytes(this.plan.ready),
    );
    if (full !== null) return full;
    if (home === null || known.damagedFile !== undefined || !isOwned(home.delta, this.owner)) return thrown;
    const cause = await this.damage.causeOf(thrown, home.delta);
    if (cause === null) return thrown;
    this.known = { ...known, damagedFile: cause.path };
    return damagedFile(this.label, cause, this.keepsHistory);
  }

  /**
   * A table with a damaged file waits until the file is whole again, or a new snapshot is there; where its history goes
   * with the file, also until that is accepted.
   */
  private async checkDamage(plan: PlanState): Promise<void> {
    const home = this.home as TableHome;
    if (this.known.damagedFile === undefined) return;
    const found = await this.damage.check(home.delta, this.known.damagedFile);
    if (found === null) return this.forgetDamage();
    const isHealed = plan.ready.steps.some(({ kind }) => kind === "replace");
    if (!isHealed) throw damagedFile(this.label, found, this.keepsHistory);
    if (!this.keepsHistory) return;
    if (!(await this.isLossAccepted())) {
      const loss = "what the table's history has in damaged files is lost, the rest stays";
      throw historyWouldGo(this.label, found.reason, loss);
    }
    const all = await this.damage.all(home.delta);
    this.lost = new Set(all.map(({ path }) => path));
    const rows = all.reduce((sum, file) => sum + file.rows, 0);
    log("warning", "history-lost", { table: this.label, files: all.map(({ reason }) => reason), rows });
  }

  private forgetDamage(): void {
    const { damagedFile: _whole, ...known } = this.known;
    this.known = known;
    this.lost = new Set();
  }

  private isLossAccepted(): Promise<boolean> {
    const { quarantinedAt } = this.known;
    return quarantinedAt === undefined ? Promise.resolve(false) : this.damage.isAccepted(Date.parse(quarantinedAt));
  }

  private get keepsHistory(): boolean {
    return this.targets.options(this.known).mode !== "scd1";
  }

  private recordRun(startedAtMs: number, durationMs: number): void {
    const { failure } = this;
    const done: Done = this.done ?? { upserted: 0, deleted: 0, dropped: 0, bytes: 0 };
    const told = failure === null ? null : { error: failure.error, isQuarantined: this.isQuarantined };
    const attempt = { startedAtMs, durationMs: Math.round(durationMs), ...done, failure: told };
    this.context.runs.record(this.runTable(), attempt);
  }

  runTable(): Pick<ApplierTableStatus, "tableId" | "schema" | "name" | "mode"> {
    const { schema, name } = this.known;
    return { tableId: this.tableId, schema, name, mode: this.targets.options(this.known).mode };
  }

  /** One run between batches. @returns bytes of files written anew; null when nothing was to be done */
  async maintain(bytesMax: number, mayVacuum: boolean): Promise<number | null> {
    const { home } = this;
    if (home === null || this.failure !== null || this.known.removed || !isOwned(home.delta, this.owner)) return null;
    const bytes = await this.maintenance.run(home, this.label, {
      bytesMax,
      mayVacuum,
      keyNames: () => this.keyNames(),
      clusterNames: clusterNames(home.delta.snapshot.metaData, this.tableId),
    });
    const { failure } = this.maintenance;
    const explained = failure === null ? null : await this.explained(failure);
    if (explained !== failure) {
      this.failed(explained, Date.now());
      return 0;
    }
    if (bytes !== null) await this.maintenance.checkpoint(home.delta, this.label);
    return bytes;
  }

  /** Physical names of the key's columns; [] when it has none. */
  private async keyNames(): Promise<string[]> {
    const { records } = this.context;
    const newest = (await records.read(records.head)).tables[this.tableId];
    if (newest === undefined) return [];
    return keyColumns(await this.targets.schema(newest.schemaId)).map(({ physicalName }) => physicalName);
  }

  private async fold(): Promise<PlanState> {
    const { records, batchBytesMax } = this.context;
    if (this.known.dropping) await this.drop();
    let plan = this.plan ?? this.newPlan(await this.startSequence(), this.known.removed);
    let isThere = !this.known.removed;
    // What a table waits for that can't go on may be anywhere in the log: a new name, or the snapshot that heals it.
    const looksAhead = this.isBlocked || this.failure !== null;
    const last = Math.min(records.head, looksAhead ? records.head : plan.scannedSequence + recordsMax);
    while (plan.scannedSequence < last && (looksAhead || plan.ready.changeBytes < batchBytesMax)) {
      const record = await records.read(plan.scannedSequence + 1);
      plan = foldRecord(plan, record, record.events.get(this.tableId) ?? []);
      // It may have come back and left again since the last turn.
      if (!plan.removed) isThere = true;
      if (!plan.removed || !isThere || this.onRemove === "keep") continue;
      isThere = false;
      // Nothing of before counts any more, and what may come after is another snapshot.
      const { scannedSequence: sequence } = plan;
      this.known = { ...this.known, removed: true, dropping: true, heldSequence: null, sequence };
      await this.context.saveProgress();
      await this.drop();
      plan = this.newPlan(sequence, true);
    }
    this.setPlan(plan);
    return plan;
  }

  /** The table has left: what the destination has of it goes, or stays where it is another's by now. */
  private async drop(): Promise<void> {
    const { records } = this.context;
    const others = Object.entries((await records.read(records.head)).tables).filter(([id]) => id !== this.tableId);
    const isWanted = others.some(([, other]) => isSamePlace(this.targets.placeOf(other), this.place));
    const outcome: DropOutcome = isWanted
      ? { kind: "kept", reason: "another table has its name now, and takes its place" }
      : await dropTable(this.place, this.owner, this.context);
    if (outcome.kind !== "absent") {
      log(outcome.kind === "kept" ? "warning" : "info", `table-${outcome.kind}`, {
        table: this.label,
        ...(outcome.kind === "kept" ? { reason: outcome.reason } : {}),
      });
    }
    const { dropping: _done, quarantinedAt: _over, ...known } = this.known;
    this.known = known;
    this.lacksPurged = false;
    this.waits = false;
    this.setHome(await this.findHome());
  }

  private get onRemove(): OnRemove {
    const { tables, onRemove } = this.context;
    return onRemoveOf(tables, this.known, this.stored?.options ?? null, onRemove);
  }

  private newPlan(sequence: number, removed: boolean): PlanState {
    return startPlan(sequence, removed, this.keepsHistory);
  }

  private setPlan(plan: PlanState): void {
    this.plan = plan;
    // A table that lacks something must be known as such by the next process too.
    if (this.lacksPurged) {
      this.known = { ...this.known, removed: plan.removed };
      return;
    }
    const heldSequence = this.held();
    this.known = { ...this.known, removed: plan.removed, heldSequence, sequence: plan.baseSequence };
  }

  /** The table's own position decides; what is known beside it only when the two agree. */
  private async startSequence(): Promise<number> {
    const { heldSequence, sequence } = this.known;
    const { records } = this.context;
    const { head } = records;
    this.setHome(await this.findHome());
    const held = this.held();
    if (held !== null && this.known.damagedFile === undefined && this.home?.isDisplaced === false) {
      const missing = await this.damage.findMissing(this.home.delta);
      if (missing !== null) this.known = { ...this.known, damagedFile: missing.path };
    }
    if (held !== null && held > head) {
      throw new SluiceError("staging", `${this.label} holds staged commit ${held}, but staging ends at ${head}`, {
        remedy: "Staging was set back: restore it, or replace the gateway to take new snapshots of all tables.",
      });
    }
    const known = held === null ? (heldSequence === null ? sequence : 0) : held;
    const start = held !== null && held >= (heldSequence ?? 0) ? Math.max(held, sequence) : known;
    // What is purged was in every table: this one was set back, or removed by hand.
    const tail = await records.tail();
    this.lacksPurged = start < head && start + 1 < tail;
    return this.lacksPurged ? tail - 1 : start;
  }

  private async findHome(): Promise<TableHome> {
    const places = await this.places();
    try {
      return await findHome(places, this.owner, this.context);
    } catch (error) {
      const { place, heldSequence, sequence } = this.known;
      const { records, destinationPath, session } = this.context;
      if (!(error instanceof DamagedLogError) || !this.isQuarantined) throw error;
      if ((await changesBeforeSnapshot(records, this.tableId, await this.readable(sequence))) === null) throw error;
      // Its rows are staged anew. Only a table that is known as ours is moved.
      if (place === undefined || heldSequence === null) throw notOurs(error, this.label);
      if (this.keepsHistory && !(await this.isLossAccepted())) {
        const loss = "the table begins anew with what staging still has, and what it was is kept in .sluice/damaged";
        throw historyWouldGo(this.label, error.message, loss);
      }
      if (!(await setDamagedAside(place, destinationPath, session))) throw error;
      await this.damage.forgetAcceptance();
      return findHome(places, this.owner, this.context);
    }
  }

  /** Changes that a new snapshot makes needless, which a quarantined table never got. */
  private async passedOver(baseSequence: number): Promise<number> {
    if (this.known.quarantinedAt === undefined) return 0;
    const { records } = this.context;
    return (await changesBeforeSnapshot(records, this.tableId, await this.readable(baseSequence))) ?? 0;
  }

  /** The sequence, or the last one that is purged. */
  private async readable(sequence: number): Promise<number> {
    return Math.max(sequence, (await this.context.records.tail()) - 1);
  }

  /** Where the table may be: where it was, or where the newest record says. */
  private async places(): Promise<Place[]> {
    const { records } = this.context;
    const newest = records.head === 0 ? undefined : (await records.read(records.head)).tables[this.tableId];
    return [
      this.place,
      this.targets.placeOf(this.known),
      ...(newest === undefined ? [] : [this.targets.placeOf(newest)]),
    ];
  }

  /** Whether a place is a table's by the newest staged record. */
  private async claims(tableId: string, place: Place): Promise<boolean> {
    const { records } = this.context;
    const newest = (await records.read(records.head)).tables[tableId];
    return newest !== undefined && isSamePlace(this.targets.placeOf(newest), place);
  }

  /** Still in the publication. */
  get isPresent(): boolean {
    return !this.known.removed;
  }

  /** Where its rows are, or will be. */
  get place(): Place {
    return this.known.place ?? this.targets.placeOf(this.known);
  }

  /** Nothing can be written now but a new snapshot, or at another place. */
  private get isBlocked(): boolean {
    return this.waits || this.lacksPurged || this.home?.isDisplaced === true || this.optionsChange.kind === "refresh";
  }

  /** By which options the rows of now were made. */
  private get stored(): StoredOptions | null {
    return storedOptions(this.home?.delta.snapshot.metaData ?? null, this.tableId);
  }

  /** What the pipeline's options are to the rows of now. */
  private get optionsChange(): OptionsChange {
    const { stored } = this;
    return stored === null ? { kind: "none" } : compareOptions(stored.options, this.targets.options(this.known));
  }

  private async apply({ ready, baseSequence, removed, keepsHistory }: PlanState): Promise<void> {
    const home = this.home as TableHome;
    const source = await this.targets.schema(schemaAfter(ready) as number);
    const place = this.targets.placeOf(source);
    const stays = isSamePlace(place, home.place);
    const delta = stays && !home.isDisplaced ? home.delta : await openPlace(place, this.context);
    const rival = takenBy(delta, this.owner);
    const decision = decideApply({
      ready,
      change: this.optionsChange,
      lacksPurged: this.lacksPurged,
      // Without its damaged files it can take all that it lacks.
      isQuarantined: this.isQuarantined && this.lost.size === 0,
      isDisplaced: stays && home.isDisplaced,
      isTaken: rival !== null,
      isRightful: await this.claims(this.tableId, place),
      isRightfullyTaken: rival !== null && (await this.claims(rival, place)),
      keepsHistory,
      isHeld: this.held() !== null,
    });
    this.waits = decision.kind === "waiting";
    if (decision.kind === "waiting") return;
    if (decision.kind === "blocked") throw blocked(decision, this.label, home, baseSequence);
    const { isReplaced, goesOn } = decision;
    const plan = { ...decision.plan, dropped: isReplaced ? await this.passedOver(baseSequence) : 0 };
    const { schema, name } = source;
    const settle = (next: PlanState) => {
      this.known = { ...this.known, schema, name };
      this.setHome({ place, delta, isDisplaced: false });
      this.setPlan(next);
    };
    for (let attempt = 1; attempt <= attemptsMax; attempt++) {
      const held = heldSequence(delta, this.owner);
      if (held !== null && held > baseSequence) {
        // Another process of ours was here: what it has applied is not applied again.
        settle(this.newPlan(held, removed));
        return;
      }
      if (!isReplaced && !home.isDisplaced) assertOwned(home.delta, this.owner);
      if (await applyPlan(delta, plan, this.applyContext(), goesOn ? home.delta : delta)) {
        if (plan.steps.length < ready.steps.length) {
          log("warning", "changes-left-out", {
            table: this.label,
            reason: "a new snapshot holds what they have led to",
          });
        }
        this.warnOfMissing(plan);
        if (this.lost.size > 0) await this.damage.forgetAcceptance();
        this.forgetDamage();
        this.lacksPurged = false;
        const { upserted, deleted, sequence } = plan;
        const span = { fromSequence: baseSequence + 1, toSequence: sequence, deltaVersion: delta.snapshot.version };
        this.done = { upserted, deleted, dropped: plan.dropped, bytes: stagedBytes(plan), ...span };
        settle(afterApply(this.plan as PlanState));
        await this.maintenance.checkpoint(delta, this.label);
        return;
      }
      await delta.refresh();
    }
    throw new SluiceError("conflict", `${this.label}: other writers were first ${attemptsMax} times`, {
      remedy: "Stop other writers of the table; this is tried again by itself.",
    });
  }

  /** Once: nothing says later that rows before updates are wanted, but not staged. */
  private warnOfMissing(plan: PlanState["ready"]): void {
    if (this.hasWarned || !this.targets.options(this.known).beforeImage || !lacksBeforeImages(plan)) return;
    this.hasWarned = true;
    log("warning", "no-before-images", {
      table: this.label,
      reason: "changes are staged without the rows before updates",
      remedy: "Name the table in the gateway's beforeImages. Changes that were staged before have none.",
    });
  }

  private setHome(home: TableHome): void {
    this.home = home;
    this.known = { ...this.known, place: { ...home.place } };
    this.rows = liveRows(home.delta.snapshot);
    this.targets.remember(storedOptions(home.delta.snapshot.metaData, this.tableId));
  }

  /** The staged sequence that the table holds, by its own log. */
  private held(): number | null {
    return this.home === null ? null : heldSequence(this.home.delta, this.owner);
  }

  private applyContext(): Parameters<typeof applyPlan>[2] {
    const { session, logId, engineInfo, batchBytesMax, records } = this.context;
    return {
      session,
      logId,
      engineInfo,
      batchBytesMax,
      appId: this.owner.appId,
      tableId: this.tableId,
      target: (schemaId) => this.targets.target(schemaId),
      stagedPath: (file) => records.store.localPath(file.path),
      lost: this.lost,
    };
  }

  private get label(): string {
    return `${this.known.schema}.${this.known.name}`;
  }

  progress(): KnownTable {
    return this.known;
  }

  status(): ApplierTableStatus {
    const delta = this.home?.delta ?? null;
    const runs = this.context.runs.recent(this.tableId);
    return {
      ...this.runTable(),
      type: "delta",
      state: this.state(),
      rows: this.rows,
      ...deltaCounters(delta),
      failPercent: failPercentOf(runs),
      runs,
      appliedSequence: this.known.sequence,
      ...(delta?.exists ? this.condition.of(delta) : noFiles),
      maintenance: { ...this.maintenance.status },
      path: tablePath(this.context.destinationPath, this.place),
    };
  }

  private state(): ApplierTableStatus["state"] {
    if (this.failure !== null) {
      const { error, quarantinedAtMs, retryAtMs } = this.failure;
      const told = { errorKind: error.kind, message: error.message, remedy: error.remedy };
      if (quarantinedAtMs === null) return { kind: "failed", ...told, retryAt: new Date(retryAtMs).toISOString() };
      return { kind: "quarantined", ...told, since: new Date(quarantinedAtMs).toISOString() };
    }
    if (this.running) return { kind: "running" };
    if (this.known.removed) return { kind: "removed" };
    return this.home?.delta.exists ? { kind: "idle" } : { kind: "waiting" };
  }
}
