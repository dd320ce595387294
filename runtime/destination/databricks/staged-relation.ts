import { posix } from "node:path";
import type { ColumnSchema } from "../../change/table-schema";
import type { StagedFile } from "../../staging/staged-commit";
import { changeOp } from "../../staging/staged-commit";
import type { ChangesFile } from "../apply-plan";
import { sqlLong, sqlText, sqlTimestamp, sqlType } from "./sql-text";
import { staged, stagedValue, type WarehouseTarget } from "./warehouse-target";

/** How the engine reads staged files: on Databricks by `read_files`, elsewhere by Spark's own `parquet`. */
export interface StagedAccess {
  form: "read_files" | "parquet";
  /** the staging's folder as the engine sees it: `/Volumes/<catalog>/<schema>/<volume>[/…]` */
  root: string;
}

/** Files of one schema, and what rows of that time have in columns that came later. */
export interface StagedFiles<File extends StagedFile = StagedFile> {
  files: readonly File[];
  /** of the files */
  columns: readonly ColumnSchema[];
  /** SQL by attribute number, for columns that the files don't have; else NULL */
  fills: ReadonlyMap<number, string>;
}

/** Paths in one glob. */
const filesMax = 200;

/** Files as relations for FROM, of which each is to be read. */
export function stagedFiles(access: StagedAccess, files: readonly StagedFile[]): string[] {
  const folders = new Map<string, string[]>();
  for (const { path } of files) {
    const { dir, base } = posix.parse(path);
    folders.set(dir, [...(folders.get(dir) ?? []), base]);
  }
  const relations: string[] = [];
  for (const [folder, names] of folders) {
    for (let at = 0; at < names.length; at += filesMax) {
      const part = names.slice(at, at + filesMax);
      const glob = posix.join(access.root, folder, part.length === 1 ? part[0] : `{${part.join(",")}}`);
      relations.push(
        access.form === "parquet"
          ? `parquet.\`${glob.replaceAll("`", "``")}\``
          : `read_files(${sqlText(glob)}, format => 'parquet', schemaEvolutionMode => 'none')`,
      );
    }
  }
  return relations;
}

/** The table's columns over files. */
function values(target: WarehouseTarget, { columns, fills }: StagedFiles): string {
  return target.columns
    .map((column) => {
      const source = columns.find(({ attributeNumber }) => attributeNumber === column.attributeNumber);
      const fill = `CAST(${fills.get(column.attributeNumber) ?? "NULL"} AS ${sqlType(column.deltaType)})`;
      return `${source === undefined ? fill : stagedValue(target, column, source)} AS ${staged(column)}`;
    })
    .join(", ");
}

/** A query of a snapshot's rows: the source's columns under their staged names. */
export function snapshotRows(access: StagedAccess, target: WarehouseTarget, group: StagedFiles): string {
  const files = group.files.filter(({ rows }) => rows > 0);
  if (files.length === 0) return noRows(target);
  const named = values(target, group);
  return stagedFiles(access, files)
    .map((relation) => `SELECT ${named} FROM ${relation}`)
    .join("\nUNION ALL ");
}

export function noRows({ columns }: Pick<WarehouseTarget, "columns">): string {
  const nulls = columns.map((column) => `CAST(NULL AS ${sqlType(column.deltaType)}) AS ${staged(column)}`);
  return `SELECT ${nulls.join(", ")} WHERE false`;
}

/**
 * A query of changes: `_op`, `_commit_lsn`, `_ordinal`, `_commit_time`, `_unchanged`, and the source's columns; without
 * those of subtransactions that were rolled back, and rows before updates only for a target that wants them.
 */
export function changeRows(
  access: StagedAccess,
  target: WarehouseTarget,
  groups: readonly StagedFiles<ChangesFile>[],
): string {
  const selects: string[] = [];
  for (const group of groups) {
    for (const [head, condition, files] of alike(target, group.files)) {
      const named = values(target, group);
      for (const relation of stagedFiles(access, files)) {
        selects.push(`SELECT ${head}, ${named} FROM ${relation}${condition === "" ? "" : ` WHERE ${condition}`}`);
      }
    }
  }
  return selects.join("\nUNION ALL ");
}

/** Files that are read alike, with what is selected in front of the columns and the condition. */
function alike(target: WarehouseTarget, files: readonly ChangesFile[]): [string, string, ChangesFile[]][] {
  const groups = new Map<string, [string, string, ChangesFile[]]>();
  for (const file of files) {
    const { transaction, ordinalEnd, beforeImages } = file;
    const conditions = ordinalEnd === undefined ? [] : [`_ordinal < ${ordinalEnd}`];
    if (beforeImages && !target.target.stored.options.beforeImage) conditions.push(`_op <> ${changeOp.beforeImage}`);
    const lsn = transaction === undefined ? "_commit_lsn" : `${sqlLong(transaction.commitLsn)} AS _commit_lsn`;
    // Staged times have no zone: they are UTC, as the session is.
    const time =
      transaction === undefined ? "CAST(_commit_time AS TIMESTAMP)" : sqlTimestamp(transaction.commitTimeMicros);
    const head = `_op, ${lsn}, _ordinal, ${time} AS _commit_time, _unchanged`;
    const condition = conditions.join(" AND ");
    const key = `${head} ${condition}`;
    const group = groups.get(key) ?? [head, condition, []];
    group[2].push(file);
    groups.set(key, group);
  }
  return [...groups.values()];
}
