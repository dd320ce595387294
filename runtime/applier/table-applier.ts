import type { TableSchema } from "../change/table-schema";
import { type ApplyPlan, afterApply, foldRecord, type PlanState, startPlan } from "../destination/apply-plan";
import { liveRows } from "../destination/delta/delta-snapshot";
import { DeltaTable } from "../destination/delta/delta-table";
import { ownerProperties } from "../destination/delta/table-metadata";
import type { DuckDbSession } from "../destination/duckdb-session";
import { applyPlan } from "../destination/table-apply";
import { tablePath } from "../destination/table-path";
import { describeError, SluiceError } from "../errors";
import { log } from "../operate/log";
import { readTableSchema } from "../staging/staging-log";
import type { ApplierTableStatus } from "../status";
import type { ApplierProgress } from "./applier-progress";
import type { StagedRecords } from "./staged-records";

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
  private delta: DeltaTable | null = null;
  private plan: PlanState | null = null;
  private running = false;
  private failure: { error: SluiceError; count: number; retryAtMs: number } | null = null;
  private readonly schemas = new Map<number, TableSchema>();
  private rows = 0;

  /** `known`: from this process or an earlier one; a new table has `heldSequence` null and the record before its first. */
  constructor(
    readonly tableId: string,
    private known: KnownTable,
    private readonly context: TableContext,
  ) {}

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
      if (plan.ready.steps.length > 0) await this.apply(plan.ready);
      this.failure = null;
    } catch (thrown) {
      const count = (this.failure?.count ?? 0) + 1;
      const retryMs = Math.min(1_000 * 2 ** (count - 1), 60_000);
      this.failure = { error: toSluiceError(thrown, this.label), count, retryAtMs: nowMs + retryMs };
      log("warning", "table-failed", { table: this.label, error: describeError(this.failure.error), retryMs });
      // What is known of the table may be wrong now: it is opened and read again.
      this.delta = null;
      this.plan = null;
    } finally {
      this.running = false;
    }
  }

  private async fold(): Promise<PlanState> {
    const { records, batchBytesMax } = this.context;
    let plan = this.plan ?? startPlan(await this.startSequence(), this.known.removed);
    const last = Math.min(records.head, plan.scannedSequence + recordsMax);
    while (plan.scannedSequence < last && plan.ready.changeBytes < batchBytesMax) {
      const record = await records.read(plan.scannedSequence + 1);
      plan = foldRecord(plan, record.sequence, record.events.get(this.tableId) ?? []);
    }
    this.setPlan(plan);
    return plan;
  }

  private setPlan(plan: PlanState): void {
    this.plan = plan;
    this.known = { ...this.known, removed: plan.removed, heldSequence: this.held(), sequence: plan.baseSequence };
  }

  /** The table's own position decides; what is known beside it only when the two agree. */
  private async startSequence(): Promise<number> {
    this.delta = await this.openTable(this.known);
    const held = this.held();
    const { heldSequence, sequence } = this.known;
    const head = this.context.records.head;
    if (held !== null && held > head) {
      throw new SluiceError("staging", `${this.label} holds staged commit ${held}, but staging ends at ${head}`, {
        remedy: "Staging was set back: restore it, or replace the gateway to take new snapshots of all tables.",
      });
    }
    if (held === null) return heldSequence === null ? sequence : 0;
    return held >= (heldSequence ?? 0) ? Math.max(held, sequence) : held;
  }

  private async apply(plan: ApplyPlan): Promise<void> {
    for (let attempt = 1; attempt <= attemptsMax; attempt++) {
      const { baseSequence, removed } = this.plan as PlanState;
      const { delta, place } = await this.tableFor(plan);
      const held = this.held();
      if (held !== null && held > baseSequence) {
        // Another process of ours was here: what it has applied is not applied again.
        this.known = { ...this.known, ...place };
        this.setPlan(startPlan(held, removed));
        return;
      }
      if (await applyPlan(delta, plan, this.applyContext())) {
        this.known = { ...this.known, ...place };
        this.setPlan(afterApply(this.plan as PlanState));
        this.rows = liveRows(delta.snapshot);
        await this.checkpoint(delta);
        return;
      }
      await delta.refresh();
    }
    throw new SluiceError("conflict", `${this.label}: other writers were first ${attemptsMax} times`, {
      remedy: "Stop other writers of the table; this is tried again by itself.",
    });
  }

  private async checkpoint(delta: DeltaTable): Promise<void> {
    if (!delta.checkpointIsDue) return;
    await delta.writeCheckpoint().catch((error: unknown) => {
      log("warning", "checkpoint-failed", { table: this.label, error: describeError(error) });
    });
  }

  /** The Delta table that a plan goes to: a snapshot goes where its schema's name says. */
  private async tableFor(plan: ApplyPlan): Promise<{ delta: DeltaTable; place: { schema: string; name: string } }> {
    const [first] = plan.steps;
    const isReplaced = first.kind === "replace";
    const { schema, name } = isReplaced ? await this.schema(first.schemaId) : this.known;
    const path = tablePath(this.context.destinationPath, { schema, name });
    if (this.delta?.path !== path) this.delta = await this.openTable({ schema, name });
    const { delta } = this;
    if (!isReplaced && delta.snapshot.metaData?.configuration[ownerProperties.log] !== this.context.logId) {
      throw new SluiceError("destination", `Delta table ${delta.path} is now written by another pipeline`, {
        remedy: "Give each pipeline its own destination path.",
      });
    }
    return { delta, place: { schema, name } };
  }

  /** @throws SluiceError `destination` when a table is there that no pipeline of ours has made */
  private async openTable(place: { schema: string; name: string }): Promise<DeltaTable> {
    const delta = await DeltaTable.open(tablePath(this.context.destinationPath, place), this.context.session);
    if (delta.exists && delta.snapshot.metaData?.configuration[ownerProperties.source] === undefined) {
      throw new SluiceError("destination", `Delta table ${delta.path} exists and was not made by Sluice`, {
        remedy: "Choose another destination path, or move that table away.",
      });
    }
    this.rows = liveRows(delta.snapshot);
    return delta;
  }

  private get appId(): string {
    return `sluice-${this.context.logId}-${this.tableId}`;
  }

  /** The staged sequence that the open table holds, by its own log. */
  private held(): number | null {
    return this.delta?.snapshot.txns.get(this.appId)?.version ?? null;
  }

  private applyContext(): Parameters<typeof applyPlan>[2] {
    const { session, logId, engineInfo, batchBytesMax, records } = this.context;
    return {
      session,
      logId,
      engineInfo,
      batchBytesMax,
      appId: this.appId,
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
    const own = this.delta?.snapshot.newestOwn;
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
      deltaVersion: this.delta?.exists ? this.delta.snapshot.version : null,
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
    return this.delta?.exists ? { kind: "idle" } : { kind: "waiting" };
  }
}

function toSluiceError(thrown: unknown, label: string): SluiceError {
  if (thrown instanceof SluiceError) return thrown;
  const message = thrown instanceof Error ? thrown.message : String(thrown);
  return new SluiceError("internal", `${label}: ${message}`, { cause: thrown });
}
