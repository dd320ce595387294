import type { ColumnSchema } from "../../change/table-schema";
import { changeOp } from "../../staging/staged-commit";
import { keyList, own, staged, type WarehouseTarget } from "./warehouse-target";

const { insert, update, delete: deleted, deleteOldKey } = changeOp;
export const upserts = `_op IN (${insert}, ${update})`;
export const isDelete = (alias = "") => `${alias}_op IN (${deleted}, ${deleteOldKey})`;

/** What of a relation `changes` makes the work longer. */
export interface ChangesTraits {
  /** some have values that were not sent */
  hasUnchanged: boolean;
  /** some are of a row under another key than before */
  hasMoves: boolean;
}

/** Columns whose values may be not sent: those that PostgreSQL keeps out of line. */
export function unsentColumns({ columns }: WarehouseTarget): ColumnSchema[] {
  return columns.filter(
    ({ keyOrdinal, deltaType }) => keyOrdinal === null && /^(string|binary|decimal|array)/.test(deltaType),
  );
}

export const valueName = (column: ColumnSchema) => `_value${column.attributeNumber}`;
const firstKey = (column: ColumnSchema) => `_key${column.attributeNumber}`;
const order = "_commit_lsn, _ordinal";

/**
 * Relations for WITH, behind `changes`, up to `valued`: each change with the values that its row had then as far as the
 * batch tells, by the rule of the local applier (`unchanged-values.ts`). A *segment* is what happened to one row under one
 * key; a row is a chain of segments, each linked to the one before by a delete of the old key with the ordinal before.
 * `_value<n>`: a struct with the value of column n, NULL where only the table knows it; `_key<n>`: the row's first key;
 * `_known`: the row was inserted or updated in the batch.
 */
export function rowHistory(
  target: WarehouseTarget,
  wanted: readonly ColumnSchema[],
  { hasMoves }: ChangesTraits,
): string[] {
  const keys = keyList(target);
  // With the key, as rows of a snapshot have no ordinals.
  const names = target.key.map((column) => `, '${staged(column)}', ${staged(column)}`).join("");
  const position = `named_struct('l', _commit_lsn, 'o', _ordinal${names})`;
  const moved = hasMoves
    ? `moves AS (SELECT _commit_lsn AS _move_lsn, _ordinal + 1 AS _move_ordinal FROM changes WHERE _op = ${deleteOldKey}),
linked AS (SELECT changes.*, _move_lsn IS NOT NULL AS _moved FROM changes
  LEFT JOIN moves ON _commit_lsn = _move_lsn AND _ordinal = _move_ordinal)`
    : "linked AS (SELECT *, false AS _moved FROM changes)";
  const relations = [
    moved,
    `followed AS (SELECT *, lag(_op) OVER (PARTITION BY ${keys} ORDER BY ${order}) AS _before FROM linked)`,
    `segmented AS (SELECT *, max(IF(_moved OR _op = ${insert} OR _before IS NULL OR _before IN (${deleted}, ${deleteOldKey}), ${position}, NULL))
  OVER (PARTITION BY ${keys} ORDER BY ${order} ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS _segment FROM followed)`,
  ];
  if (hasMoves) {
    relations.push(
      `links AS (SELECT s._segment AS _segment, p._segment AS _previous FROM segmented s JOIN segmented p
  ON s._moved AND p._commit_lsn = s._commit_lsn AND p._ordinal = s._ordinal - 1)`,
      `chains AS (SELECT l._segment, l._previous AS _row FROM links l LEFT ANTI JOIN links b ON l._previous = b._segment
  UNION ALL SELECT l._segment, c._row FROM links l JOIN chains c ON l._previous = c._segment)`,
      "chained AS (SELECT s.*, coalesce(c._row, s._segment) AS _row FROM segmented s LEFT JOIN chains c ON s._segment = c._segment)",
    );
  } else relations.push("chained AS (SELECT *, _segment AS _row FROM segmented)");
  const values = wanted.map((column) => {
    const isSent = `NOT ${isDelete()} AND NOT contains(coalesce(_unchanged, ''), ',${column.attributeNumber},')`;
    return `, last_value(IF(${isSent}, named_struct('v', ${staged(column)}), NULL), true) OVER past AS ${valueName(column)}`;
  });
  const firstKeys = target.key.map((column) => `, first_value(${staged(column)}) OVER past AS ${firstKey(column)}`);
  relations.push(
    `valued AS (SELECT *, bool_or(${upserts}) OVER past AS _known${values.join("")}${firstKeys.join("")}
  FROM chained WINDOW past AS (PARTITION BY _row ORDER BY ${order} ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW))`,
  );
  return relations;
}

/** WITH's word for these relations: a chain of rows refers to itself. */
export function withWord({ hasMoves, hasUnchanged }: ChangesTraits): string {
  return hasMoves && hasUnchanged ? "WITH RECURSIVE" : "WITH";
}

/** The last change of each key, as relation `latest` of another. */
export function latest(target: WarehouseTarget, source: string): string {
  return `latest AS (SELECT * FROM (SELECT *, row_number() OVER (PARTITION BY ${keyList(target)} ORDER BY _commit_lsn DESC, _ordinal DESC) AS _rank
  FROM ${source}) WHERE _rank = 1)`;
}

/**
 * Relation `resolved`: rows of another one with `_old<n>`, what the table has now under the row's first key, where
 * only the table knows it; `_found`: whether the row is known, by the batch or the table.
 */
export function resolved(
  target: WarehouseTarget,
  wanted: readonly ColumnSchema[],
  source: string,
  { rows, current }: { rows: string; current: CurrentRows },
): string {
  const olds = wanted.map((column) => `, o.${oldName(column)}`).join("");
  const missing = ["NOT _known", ...wanted.map((column) => `${valueName(column)} IS NULL`)].join(" OR ");
  const same = target.key.map((column) => `o.${firstKey(column)}_own <=> r.${firstKey(column)}`).join(" AND ");
  const keys = target.key.map((column) => `${own("t", column)} AS ${firstKey(column)}_own`);
  const values = wanted.map((column) => `${own("t", column)} AS ${oldName(column)}`);
  const read = [...keys, ...values, "true AS _there"].join(", ");
  const found = `SELECT ${read}${current.rank === null ? "" : `, ${current.rank} AS _newest`} FROM ${target.table} t WHERE ${current.condition}`;
  const only = current.rank === null ? found : `SELECT * FROM (${found}) WHERE _newest = 1`;
  return `resolved AS (SELECT r.*${olds}, _known OR coalesce(o._there, false) AS _found FROM ${source} r
  LEFT JOIN (${only}) o ON ${rows} AND (${missing}) AND ${same})`;
}

export const oldName = (column: ColumnSchema) => `_old${column.attributeNumber}`;

/** Which of a table's rows are the source's of now. */
export interface CurrentRows {
  condition: string;
  /** 1 for the newest row of a key, where the table has several */
  rank: string | null;
}

export function currentRows(target: WarehouseTarget): CurrentRows {
  switch (target.target.mode) {
    case "scd1":
    case "softDelete":
      return { condition: "true", rank: null };
    case "scd2":
      return { condition: "t.is_current", rank: null };
    case "append": {
      const keys = target.key.map((column) => own("t", column)).join(", ");
      // A snapshot's rows have no ordinal; its LSN is before that of every change that comes after it.
      const rank = `row_number() OVER (PARTITION BY ${keys} ORDER BY t._commit_lsn DESC, coalesce(t._ordinal, 0) DESC)`;
      return { condition: "true", rank };
    }
  }
}

/** A value where it may be only the table that knows it. */
export function resolvedValue(column: ColumnSchema, alias: string, old: string): string {
  return `IF(${alias}.${valueName(column)} IS NULL, ${old}, ${alias}.${valueName(column)}.v)`;
}
