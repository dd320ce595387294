import type { ColumnSchema, TableSchema } from "../../change/table-schema";
import type { BatchStage } from "./batch-stages";
import { appendMerge, versionsMerge } from "./history-merge";
import { keyedMerge, softDeleteMerge } from "./keyed-merge";
import { keylessMerge } from "./keyless-merge";
import type { MergeParts } from "./merge-statement";
import { type ChangesTraits, unsentColumns } from "./row-history";
import { appendAt, emptyRow, firstRows, rebuiltRows, snapshotDifference, truncateChanges } from "./snapshot-rows";
import { changeRows, noRows, type StagedFiles, snapshotRows, stagedFiles } from "./staged-relation";
import type { WarehouseTable } from "./warehouse-table";
import { stagedValue, type WarehouseTarget } from "./warehouse-target";

const plain: ChangesTraits = { hasUnchanged: false, hasMoves: false };

/** What a stage's rows are, as queries over staged files; some of it is asked of the files themselves. */
export class StageRows {
  constructor(
    private readonly table: Pick<WarehouseTable, "access" | "run">,
    private readonly stage: BatchStage,
    private readonly target: WarehouseTarget,
    /** of the plan, by id */
    private readonly schemas: ReadonlyMap<number, TableSchema>,
  ) {}

  /** A query of the table's own columns; null for none. */
  async asNewTable(start: NonNullable<BatchStage["start"]>): Promise<string | null> {
    const { stage, target } = this;
    const { access } = this.table;
    const fills = await this.fills();
    const files = start.kind === "replace" ? start.files.filter(({ rows }) => rows > 0) : [];
    const snapshot =
      files.length === 0
        ? noRows(target)
        : snapshotRows(access, target, { files, columns: this.columnsOf(start.schemaId), fills: fills(0) });
    if (target.target.mode !== "scd1") {
      return files.length === 0 ? null : firstRows(target, snapshot, start.point);
    }
    if (stage.changes.length === 0) return files.length === 0 ? null : rebuiltRows(target, snapshot, null, plain);
    const changes = changeRows(access, target, this.groups(fills));
    return rebuiltRows(target, snapshot, changes, await this.traits());
  }

  /** What a MERGE does with them; null for nothing. */
  async asMerge(): Promise<MergeParts | null> {
    const { stage, target } = this;
    const { mode } = target.target;
    const { start } = stage;
    if (start !== null) {
      if (mode === "append") {
        if (start.kind === "truncate") return appendAt(target, "truncate", emptyRow(target), start.point);
        if (start.files.every(({ rows }) => rows === 0)) return null;
        return appendAt(target, "snapshot", this.snapshot(start), start.point);
      }
      const changes =
        start.kind === "truncate"
          ? truncateChanges(target, start.point)
          : snapshotDifference(target, this.snapshot(start), start.point);
      return mode === "scd2"
        ? versionsMerge(target, changes, plain, false)
        : softDeleteMerge(target, changes, plain, true);
    }
    if (stage.changes.length === 0) return null;
    const changes = changeRows(this.table.access, target, this.groups(await this.fills()));
    const traits = await this.traits();
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

  private snapshot({ schemaId, files }: { schemaId: number; files: StagedFiles["files"] }): string {
    return snapshotRows(this.table.access, this.target, { files, columns: this.columnsOf(schemaId), fills: new Map() });
  }

  private columnsOf(schemaId: number): ColumnSchema[] {
    return (this.schemas.get(schemaId) as TableSchema).columns;
  }

  private groups(fills: (from: number) => ReadonlyMap<number, string>): Parameters<typeof changeRows>[2] {
    return this.stage.changes.map(({ schemaId, files, fills: from }) => ({
      files,
      columns: this.columnsOf(schemaId),
      fills: fills(from),
    }));
  }

  /** What the changes are like, where that makes another statement. */
  private async traits(): Promise<ChangesTraits> {
    const { stage, target } = this;
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
  async fills(): Promise<(from: number) => ReadonlyMap<number, string>> {
    const { stage, target } = this;
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
}
