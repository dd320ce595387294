import { type ColumnSchema, keyColumns, type TableSchema } from "../../change/table-schema";
import { failpoint } from "../../failpoint";
import { compareOptions } from "../../table-options-change";
import type { ApplyPlan } from "../apply-plan";
import { ownerProperties } from "../delta/table-metadata";
import { TypeChangeError } from "../schema-evolution";
import { needsSnapshot } from "../table-apply";
import type { TargetTable } from "../target-table";
import { type BatchStage, stagesOf } from "./batch-stages";
import { appendMerge, versionsMerge } from "./history-merge";
import { keyedMerge, softDeleteMerge } from "./keyed-merge";
import { keylessMerge } from "./keyless-merge";
import { type MergeParts, mergeStatement } from "./merge-statement";
import { formatPosition, type WarehousePosition } from "./position";
import { type ChangesTraits, unsentColumns } from "./row-history";
import { appendAt, emptyRow, firstRows, rebuiltRows, snapshotDifference, truncateChanges } from "./snapshot-rows";
import type { SqlRow } from "./sql-session";
import { changeRows, noRows, type StagedFiles, snapshotRows, stagedFiles } from "./staged-relation";
import {
  afterChange,
  alterColumn,
  clusterStatement,
  replaceStatement,
  rewrittenRows,
  schemaStep,
  settled,
} from "./table-statements";
import {
  type ColumnChange,
  clusterNumbers,
  columnsProperty,
  deltaProperties,
  ownProperties,
  warehouseProperties,
} from "./warehouse-properties";
import type { WarehouseTable } from "./warehouse-table";
import { stagedValue, type WarehouseTarget, warehouseTarget } from "./warehouse-target";

export interface BatchContext {
  logId: string;
  tableId: string;
  schema: (schemaId: number) => Promise<TableSchema>;
  target: (schemaId: number) => Promise<TargetTable>;
  /** Resolves when the table may lose what it held before a snapshot, whose types don't hold it; else rejects. */
  loseHistory: (error: TypeChangeError) => Promise<void>;
}

const plain: ChangesTraits = { hasUnchanged: false, hasMoves: false };

/**
 * Carries a plan out, stage by stage, each by one statement that tells its position in the commit of its rows
 * (invariant 3). Stages that the table has by its position are left out: so the same plan may be carried out again, wherever
 * it was cut off.
 */
export async function applyBatch(
  table: WarehouseTable,
  plan: ApplyPlan,
  base: number,
  keepsHistory: boolean,
  context: BatchContext,
): Promise<void> {
  const batch = await Batch.open(table, plan, base, keepsHistory, context);
  await batch.run();
}

/** A table's columns, and one of its schemas, for the statements of a stage. */
class Batch {
  private constructor(
    private readonly table: WarehouseTable,
    private readonly stages: BatchStage[],
    private readonly position: Omit<WarehousePosition, "done">,
    private readonly schemas: ReadonlyMap<number, TableSchema>,
    private readonly targets: ReadonlyMap<number, WarehouseTarget>,
    private readonly context: BatchContext,
  ) {}

  static async open(
    table: WarehouseTable,
    plan: ApplyPlan,
    base: number,
    keepsHistory: boolean,
    context: BatchContext,
  ): Promise<Batch> {
    const schemas = new Map<number, TableSchema>();
    const targets = new Map<number, WarehouseTarget>();
    // What options can't be is told before anything is touched.
    for (const { schemaId } of plan.steps) {
      schemas.set(schemaId, await context.schema(schemaId));
      targets.set(schemaId, warehouseTarget(await context.target(schemaId), table.name));
    }
    const keyOf = (schemaId: number) =>
      keyColumns((targets.get(schemaId) as WarehouseTarget).target.schema)
        .map(({ attributeNumber }) => attributeNumber)
        .join();
    const stages = stagesOf(plan, keepsHistory, keyOf);
    const { logId, tableId } = context;
    const position = { logId, tableId, base, sequence: plan.sequence, of: stages.length };
    return new Batch(table, stages, position, schemas, targets, context);
  }

  async run(): Promise<void> {
    const { table, position } = this;
    const known = table.position;
    const isGoneOn =
      known !== null &&
      known.base === position.base &&
      known.sequence === position.sequence &&
      known.of === position.of;
    for (let at = isGoneOn ? known.done : 0; at < this.stages.length; at++) {
      const told: WarehousePosition = { ...position, done: at + 1 };
      await this.stage(this.stages[at], formatPosition(told));
      table.position = told;
      // Only now: until its rows are those of this log, it is found to be of the other.
      await table.set([[ownerProperties.log, position.logId]]);
    }
  }

  private async stage(stage: BatchStage, token: string): Promise<void> {
    const target = this.target(stage.schemaId);
    if (stage.start === null) await this.checkOptions(target);
    if (stage.start?.kind === "replace" && !(await this.canGoOn(target))) {
      const { start } = stage;
      return this.replace(target, await this.newRows(stage, target, start.point), token);
    }
    if (stage.start !== null && target.target.mode === "scd1") {
      return this.replace(target, await this.newRows(stage, target, stage.start.point), token);
    }
    await this.follow(stage, target);
    const parts = await this.merge(stage, target);
    if (parts === null) return this.note(token);
    const [counts] = await this.effect(mergeStatement(parts, { token, guard: this.table.guard(token) }));
    this.table.rows += Number(counts?.num_inserted_rows ?? 0) - Number(counts?.num_deleted_rows ?? 0);
  }

  private target(schemaId: number): WarehouseTarget {
    return this.targets.get(schemaId) as WarehouseTarget;
  }

  /** @throws SluiceError `config` when the table's rows were made by options that these can't follow in place */
  private async checkOptions(target: WarehouseTarget): Promise<void> {
    const { stored } = this.table;
    const wanted = target.target.stored.options;
    const change = compareOptions(stored?.options ?? wanted, wanted);
    const { schema, name } = target.target.source;
    if (change.kind === "refresh") throw needsSnapshot(`${schema}.${name}`, change.reason);
  }

  /** Whether the rows of before can be rows of the target, whose mode keeps them. */
  private async canGoOn(target: WarehouseTarget): Promise<boolean> {
    const { table } = this;
    const { stored } = table;
    if (target.target.mode === "scd1" || stored === null || table.columns === null) return false;
    if (compareOptions(stored.options, target.target.stored.options).kind === "refresh") return false;
    try {
      schemaStep(table.columns, target, new Set());
      return true;
    } catch (error) {
      if (!(error instanceof TypeChangeError)) throw error;
      await this.context.loseHistory(error);
      return false;
    }
  }

  /** A query of the table's own columns; null for none. */
  private async newRows(
    stage: BatchStage,
    target: WarehouseTarget,
    point: Parameters<typeof firstRows>[2],
  ): Promise<string | null> {
    const { access } = this.table;
    const start = stage.start as NonNullable<BatchStage["start"]>;
    const fills = await this.fills(stage, target);
    const files = start.kind === "replace" ? start.files.filter(({ rows }) => rows > 0) : [];
    const snapshot =
      files.length === 0
        ? noRows(target)
        : snapshotRows(access, target, { files, columns: this.columnsOf(start.schemaId), fills: fills(0) });
    if (target.target.mode !== "scd1") return files.length === 0 ? null : firstRows(target, snapshot, point);
    if (stage.changes.length === 0) return files.length === 0 ? null : rebuiltRows(target, snapshot, null, plain);
    const changes = changeRows(access, target, this.groups(stage, fills));
    return rebuiltRows(target, snapshot, changes, await this.traits(stage, target));
  }

  /** Makes the table anew; readers have the old one until then. */
  private async replace(target: WarehouseTarget, rows: string | null, token: string | null): Promise<void> {
    const { table, context } = this;
    const position = token ?? (table.position === null ? null : formatPosition(table.position));
    const guard = table.guard(token ?? "sluice");
    // Rows that are only written anew are still of the log that they were of.
    const logId = token === null ? (table.logId ?? context.logId) : context.logId;
    const options = { logId, position, epoch: table.epoch, guard, previous: table.properties };
    await this.effect(replaceStatement(target, rows, options));
    const { position: known } = table;
    await table.read();
    table.position = known;
  }

  /** What has an effect that must not come twice. */
  private async effect(statement: string): Promise<SqlRow[]> {
    failpoint("applier.before-commit");
    const rows = await this.table.run(statement);
    failpoint("applier.after-commit");
    return rows;
  }

  /** A stage without rows: its position is a property. */
  private async note(token: string): Promise<void> {
    await this.table.set([[warehouseProperties.position, token]]);
  }

  private async merge(stage: BatchStage, target: WarehouseTarget): Promise<MergeParts | null> {
    const { access } = this.table;
    const { mode } = target.target;
    const { start } = stage;
    if (start !== null) {
      if (mode === "append") {
        if (start.kind === "truncate") return appendAt(target, "truncate", emptyRow(target), start.point);
        if (start.files.every(({ rows }) => rows === 0)) return null;
        return appendAt(target, "snapshot", this.snapshot(target, start), start.point);
      }
      const changes =
        start.kind === "truncate"
          ? truncateChanges(target, start.point)
          : snapshotDifference(target, this.snapshot(target, start), start.point);
      return mode === "scd2"
        ? versionsMerge(target, changes, plain, false)
        : softDeleteMerge(target, changes, plain, true);
    }
    if (stage.changes.length === 0) return null;
    const changes = changeRows(access, target, this.groups(stage, await this.fills(stage, target)));
    const traits = await this.traits(stage, target);
    switch (mode) {
      case "scd1":
        return target.key.length === 0 ? keylessMerge(target, changes) : keyedMerge(target, changes, traits);
      case "softDelete":
        return softDeleteMerge(target, changes, traits, target.target.schema.replicaIdentity === "f");
      case "append":
        return appendMerge(target, changes, target.key.length === 0 ? plain : traits);
      case "scd2":
        return versionsMerge(target, changes, traits, true);
    }
  }

  private snapshot(
    target: WarehouseTarget,
    { schemaId, files }: { schemaId: number; files: StagedFiles["files"] },
  ): string {
    return snapshotRows(this.table.access, target, { files, columns: this.columnsOf(schemaId), fills: new Map() });
  }

  private columnsOf(schemaId: number): ColumnSchema[] {
    return (this.schemas.get(schemaId) as TableSchema).columns;
  }

  private groups(
    stage: BatchStage,
    fills: (from: number) => ReadonlyMap<number, string>,
  ): Parameters<typeof changeRows>[2] {
    return stage.changes.map(({ schemaId, files, fills: from }) => ({
      files,
      columns: this.columnsOf(schemaId),
      fills: fills(from),
    }));
  }

  /** What the changes are like, where that makes another statement. */
  private async traits(stage: BatchStage, target: WarehouseTarget): Promise<ChangesTraits> {
    if (target.key.length === 0) return plain;
    const isSoft = target.target.mode === "softDelete";
    if (unsentColumns(target).length === 0 && !isSoft) return plain;
    const parts = stage.changes.flatMap(({ files }) =>
      files.flatMap(({ ordinalEnd, ...file }) =>
        stagedFiles(this.table.access, [file]).map(
          (relation) =>
            `SELECT _op, _unchanged FROM ${relation}${ordinalEnd === undefined ? "" : ` WHERE _ordinal < ${ordinalEnd}`}`,
        ),
      ),
    );
    const [found] = await this.table.run(
      `SELECT CAST(count(_unchanged) AS STRING) AS unchanged, CAST(count_if(_op = 3) AS STRING) AS moves FROM (\n${parts.join("\nUNION ALL ")}\n)`,
    );
    return { hasUnchanged: found.unchanged !== "0", hasMoves: found.moves !== "0" };
  }

  /** SQL of what rows of before have in new columns, by the number of fills that a row was written behind. */
  private async fills(
    stage: BatchStage,
    target: WarehouseTarget,
  ): Promise<(from: number) => ReadonlyMap<number, string>> {
    const { access } = this.table;
    const each: Map<number, string>[] = [];
    for (const { schemaId, file } of stage.fills) {
      const [relation] = stagedFiles(access, [file]);
      const [row] = await this.table.run(`SELECT to_json(struct(*)) AS told FROM ${relation}`);
      const told = new Set(Object.keys(JSON.parse(String(row?.told ?? "{}")) as object));
      const values = new Map<number, string>();
      for (const column of target.columns) {
        const source = this.columnsOf(schemaId).find(
          ({ attributeNumber }) => attributeNumber === column.attributeNumber,
        );
        if (source === undefined || !told.has(`c${column.attributeNumber}`)) continue;
        values.set(column.attributeNumber, `(SELECT ${stagedValue(target, column, source)} FROM ${relation})`);
      }
      each.push(values);
    }
    return (from) => new Map(each.slice(from).flatMap((values) => [...values]));
  }

  /** Gives the table the target's columns, layout and properties, in steps of which each may be the last that is done. */
  private async follow(stage: BatchStage, target: WarehouseTarget): Promise<void> {
    const { table, context } = this;
    if (!table.exists || table.columns === null) {
      return this.replace(target, null, null);
    }
    const fills = (await this.fills(stage, target))(0);
    const step = schemaStep(table.columns, target, new Set(fills.keys()));
    if (step.kind === "rewrite") return this.replace(target, rewrittenRows(table.columns, target, fills), null);
    const cluster = JSON.stringify(clusterNumbers(target));
    const isClusteredAnew = (table.properties.get(warehouseProperties.cluster) ?? "[]") !== cluster;
    if (isClusteredAnew && step.kind === "alter") await table.run(`ALTER TABLE ${table.name} CLUSTER BY NONE`);
    if (step.kind === "alter") for (const change of step.changes) await this.alter(change);
    if (isClusteredAnew) await table.run(clusterStatement(target));
    const log = table.logId ?? context.logId;
    await table.set([...deltaProperties(target), ...ownProperties(target, log), columnsProperty(target)]);
    if (step.kind === "alter") await table.readColumns();
  }

  private async alter(change: ColumnChange): Promise<void> {
    const { table } = this;
    const columns = table.columns as NonNullable<typeof table.columns>;
    const tell = (names: Record<string, string>, pending: ColumnChange | null) =>
      table.set([[warehouseProperties.columns, JSON.stringify({ names, pending })]]);
    const names = settled(columns);
    await tell(names, change);
    failpoint("applier.before-commit");
    await table.run(alterColumn(table.name, change));
    failpoint("applier.after-commit");
    table.columns = { known: { names: afterChange(names, change), pending: null }, types: columns.types };
  }
}
