import type { TableSchema } from "../change/table-schema";
import {
  type ApplyPlan,
  afterApply,
  foldRecord,
  type PlanState,
  schemaAfter,
  startPlan,
} from "../destination/apply-plan";
import { liveRows } from "../destination/delta/delta-snapshot";
import type { DeltaTable } from "../destination/delta/delta-table";
import type { DuckDbSession } from "../destination/duckdb-session";
import { applyPlan } from "../destination/table-apply";
import { tablePath } from "../destination/table-path";
import { describeError, SluiceError } from "../errors";
import { log } from "../operate/log";
import { readTableSchema } from "../staging/staging-log";
import type { ApplierTableStatus } from "../status";
import type { ApplierProgress } from "./applier-progress";
import type { StagedRecords } from "./staged-records";
import {
  assertOwned,
  findHome,
  heldSequence,
  isSamePlace,
  openPlace,
  type Place,
  type TableHome,
  type TableOwner,
} from "./table-home";

export interface TableContext {
  records: StagedRecords;
  session: DuckDbSession;
  logId: string;
  destinationPath: string;
  engineInfo: string;
  /** staged changes of one batch, in bytes of their files */
  batchBytesMax: number;
}

type KnownTable = ApplierProgress["tables"][string];

/** Records folded in one turn, so that tables take turns. */
const recordsMax = 500;
const attemptsMax = 5;

/** One table on its way from staging to the destination: its position, its plan, its last failure. */
export class TableApplier {
  private home: TableHome | null = null;
  private plan: PlanState | null = null;
  private running = false;
  private failure: { error: SluiceError; count: number; retryAtMs: number } | null = null;
  private readonly schemas = new Map<number, TableSchema>();
  private readonly owner: TableOwner;
  private rows = 0;

  /** `known`: from this process or an earlier one; a new table has `heldSequence` null and the record before its first. */
  constructor(
    readonly tableId: string,
    private known: KnownTable,
    private readonly context: TableContext,
  ) {
    const { logId } = context;
    this.owner = { tableId, logId, appId: `sluice-${logId}-${tableId}` };
  }

  /** Has all that is staged up to here, as far as that can be applied yet. */
  get doneSequence(): number {
    if (this.plan === null) return this.known.sequence;
    return this.plan.ready.steps.length === 0 ? this.plan.scannedSequence : this.plan.baseSequence;
  }

  get error(): SluiceError | null {
    return this.failure?.error ?? null;
  }

  isDue(nowMs: number): boolean {
    if (this.failure !== null) return this.failure.retryAtMs <= nowMs;
    return this.plan === null || this.doneSequence < this.context.records.head;
  }

  /** Reads on in the log and applies what it finds. Never throws: a failure is kept, told in the status and retried. */
  async advance(nowMs: number): Promise<void> {
    this.running = true;
    try {
      const plan = await this.fold();
      if (plan.ready.steps.length > 0) await this.apply(plan);
      this.failure = null;
    } catch (thrown) {
      const count = (this.failure?.count ?? 0) + 1;
      const retryMs = Math.min(1_000 * 2 ** (count - 1), 60_000);
      this.failure = { error: toSluiceError(thrown, this.label), count, retryAtMs: nowMs + retryMs };
      log("warning", "table-failed", { table: this.label, error: describeError(this.failure.error), retryMs });
      // What is known of the table may be wrong now: it is opened and read again.
      this.home = null;
      this.plan = null;
    } finally {
      this.running = false;
    }
  }

  private async fold(): Promise<PlanState> {
    const { records, batchBytesMax } = this.context;
    let plan = this.plan ?? startPlan(await this.startSequence(), this.known.removed);
    const last = Math.min(records.head, plan.scannedSequence + recordsMax);
    // A displaced table can only be written once its new place is known.
    const isFull = () => plan.ready.changeBytes >= batchBytesMax && this.home?.isDisplaced !== true;
    while (plan.scannedSequence < last && !isFull()) {
      const record = await records.read(plan.scannedSequence + 1);
      plan = foldRecord(plan, record.sequence, record.events.get(this.tableId) ?? []);
    }
    this.setPlan(plan);
    return plan;
  }

  private setPlan(plan: PlanState): void {
    this.plan = plan;
    const heldSequence = this.held();
    this.known = { ...this.known, removed: plan.removed, heldSequence, sequence: plan.baseSequence };
  }

  /** The table's own position decides; what is known beside it only when the two agree. */
  private async startSequence(): Promise<number> {
    const { heldSequence, sequence } = this.known;
    const { head } = this.context.records;
    this.setHome(await findHome(await this.places(), this.owner, this.context));
    const held = this.held();
    if (held !== null && held > head) {
      throw new SluiceError("staging", `${this.label} holds staged commit ${held}, but staging ends at ${head}`, {
        remedy: "Staging was set back: restore it, or replace the gateway to take new snapshots of all tables.",
      });
    }
    if (held === null) return heldSequence === null ? sequence : 0;
    return held >= (heldSequence ?? 0) ? Math.max(held, sequence) : held;
  }

  /** Where the table may be: where it was, or where the newest record says. */
  private async places(): Promise<Place[]> {
    const { records } = this.context;
    const newest = records.head === 0 ? undefined : (await records.read(records.head)).tables[this.tableId];
    const known = { schema: this.known.schema, name: this.known.name };
    return newest === undefined ? [known] : [known, { schema: newest.schema, name: newest.name }];
  }

  private async apply({ ready: plan, baseSequence, removed, scannedSequence }: PlanState): Promise<void> {
    const home = this.home as TableHome;
    const isReplaced = plan.steps[0].kind === "replace";
    const place = await this.placeAfter(plan, home.place);
    const stays = isSamePlace(place, home.place);
    if (stays && home.isDisplaced && !isReplaced) {
      if (scannedSequence < this.context.records.head) return; // its new place may come
      throw displaced(home);
    }
    const delta = stays && !home.isDisplaced ? home.delta : await openPlace(place, this.context);
    for (let attempt = 1; attempt <= attemptsMax; attempt++) {
      const held = heldSequence(delta, this.owner);
      if (held !== null && held > baseSequence) {
        // Another process of ours was here: what it has applied is not applied again.
        this.setHome({ place, delta, isDisplaced: false });
        this.setPlan(startPlan(held, removed));
        return;
      }
      if (!isReplaced && !home.isDisplaced) assertOwned(home.delta, this.owner);
      if (await applyPlan(delta, plan, this.applyContext(), isReplaced ? delta : home.delta)) {
        this.setHome({ place, delta, isDisplaced: false });
        this.setPlan(afterApply(this.plan as PlanState));
        await this.checkpoint(delta);
        return;
      }
      await delta.refresh();
    }
    throw new SluiceError("conflict", `${this.label}: other writers were first ${attemptsMax} times`, {
      remedy: "Stop other writers of the table; this is tried again by itself.",
    });
  }

  /** Where the plan's last schema says; a table without a schema step stays. */
  private async placeAfter(plan: ApplyPlan, place: Place): Promise<Place> {
    const schemaId = schemaAfter(plan);
    if (schemaId === null) return place;
    const { schema, name } = await this.schema(schemaId);
    return { schema, name };
  }

  private setHome(home: TableHome): void {
    this.home = home;
    this.known = { ...this.known, ...home.place };
    this.rows = liveRows(home.delta.snapshot);
  }

  private async checkpoint(delta: DeltaTable): Promise<void> {
    if (!delta.checkpointIsDue) return;
    await delta.writeCheckpoint().catch((error: unknown) => {
      log("warning", "checkpoint-failed", { table: this.label, error: describeError(error) });
    });
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
      schema: (schemaId) => this.schema(schemaId),
      stagedPath: (file) => records.store.localPath(file.path),
    };
  }

  private async schema(schemaId: number): Promise<TableSchema> {
    const known = this.schemas.get(schemaId);
    if (known !== undefined) return known;
    const schema = await readTableSchema(this.context.records.store, this.tableId, schemaId);
    this.schemas.set(schemaId, schema);
    return schema;
  }

  private get label(): string {
    return `${this.known.schema}.${this.known.name}`;
  }

  progress(): KnownTable {
    return this.known;
  }

  status(): ApplierTableStatus {
    const delta = this.home?.delta;
    const own = delta?.snapshot.newestOwn;
    return {
      tableId: this.tableId,
      schema: this.known.schema,
      name: this.known.name,
      type: "delta",
      mode: "scd1",
      state: this.state(),
      rows: this.rows,
      upserted: own?.upserted ?? 0,
      deleted: own?.deleted ?? 0,
      dropped: 0,
      failPercent: 0,
      durationMs: own?.durationMs ?? 0,
      appliedSequence: this.known.sequence,
      deltaVersion: delta?.exists ? delta.snapshot.version : null,
      path: tablePath(this.context.destinationPath, this.known),
    };
  }

  private state(): ApplierTableStatus["state"] {
    if (this.failure !== null) {
      const { kind, message, remedy } = this.failure.error;
      return { kind: "failed", errorKind: kind, message, remedy };
    }
    if (this.running) return { kind: "running" };
    if (this.known.removed) return { kind: "removed" };
    return this.home?.delta.exists ? { kind: "idle" } : { kind: "waiting" };
  }
}

function displaced({ place, delta }: TableHome): SluiceError {
  const label = `${place.schema}.${place.name}`;
  return new SluiceError("conflict", `${label}: another table of that name has ${delta.path} now`, {
    remedy: "The table goes on as soon as its new name is staged: it was renamed at the source, or dropped.",
  });
}

function toSluiceError(thrown: unknown, label: string): SluiceError {
  if (thrown instanceof SluiceError) return thrown;
  const message = thrown instanceof Error ? thrown.message : String(thrown);
  return new SluiceError("internal", `${label}: ${message}`, { cause: thrown });
}
