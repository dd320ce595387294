import { changeOp } from "../../staging/staged-commit";
import type { CommitPoint } from "../apply-plan";
import { onlyInsert } from "./history-merge";
import { balances, comingRows } from "./keyless-merge";
import type { MergeParts } from "./merge-statement";
import { type ChangesTraits, isDelete, latest, rowHistory, unsentColumns, valueName, withWord } from "./row-history";
import { sqlLong, sqlName, sqlTimestamp, sqlType } from "./sql-text";
import { keyList, ownRows, sameValue, staged, type WarehouseTarget } from "./warehouse-target";

/** The table's columns by their own names over a relation that has them by ours. */
export function ownColumns(target: WarehouseTarget, meta: Record<string, string>): string {
  return [
    ...target.columns.map((column) => `${staged(column)} AS ${sqlName(column.name)}`),
    ...target.meta.map(
      ({ name, deltaType }) => `CAST(${meta[name] ?? "NULL"} AS ${sqlType(deltaType)}) AS ${sqlName(name)}`,
    ),
  ].join(", ");
}

/**
 * A query of all that a table of mode scd1 has after a snapshot (or a TRUNCATE: then without rows) and the changes behind
 * it, as the table's own columns. `changes`: null where there are none.
 */
export function rebuiltRows(
  target: WarehouseTarget,
  snapshot: string,
  changes: string | null,
  traits: ChangesTraits,
): string {
  const nulls = ownColumns(target, {});
  if (changes === null) return `SELECT ${nulls} FROM (\n${snapshot}\n)`;
  const known = ownColumns(target, Object.fromEntries(target.meta.map(({ name }) => [name, name])));
  const columns = target.columns.map(staged).join(", ");
  const asInserts = `SELECT ${changeOp.insert} AS _op, CAST(-1 AS BIGINT) AS _commit_lsn, CAST(0 AS BIGINT) AS _ordinal,
  CAST(NULL AS TIMESTAMP) AS _commit_time, CAST(NULL AS STRING) AS _unchanged, ${columns}`;
  if (target.key.length === 0) {
    const nullMeta = target.meta.map(({ name }) => name);
    const values = nullMeta.length === 0 ? "" : `, ${nullMeta.join(", ")}`;
    return `WITH told AS (${changes}),
changes AS (SELECT _op, ${columns}${values} FROM told UNION ALL SELECT ${changeOp.insert}, ${columns}${target.meta.map(({ deltaType }) => `, CAST(NULL AS ${sqlType(deltaType)})`).join("")} FROM (${snapshot})),
${balances(target)}
SELECT ${known} FROM (${comingRows(target)})`;
  }
  const same = target.key.map((column) => `s.${staged(column)} <=> k.${staged(column)}`).join(" AND ");
  const metaNames = target.meta.map(({ name }) => `, ${name}`).join("");
  const nullMeta = target.meta
    .map(({ name, deltaType }) => `, CAST(NULL AS ${sqlType(deltaType)}) AS ${name}`)
    .join("");
  const relations = [
    `told AS (${changes})`,
    `snapshot AS (${snapshot})`,
    `touched AS (SELECT DISTINCT ${keyList(target)} FROM told)`,
    `kept AS (SELECT s.* FROM snapshot s LEFT ANTI JOIN touched k ON ${same})`,
  ];
  let values = columns;
  if (traits.hasUnchanged) {
    const wanted = unsentColumns(target);
    relations.push(
      `changes AS (SELECT _op, _commit_lsn, _ordinal, _commit_time, _unchanged, ${columns} FROM told
  UNION ALL ${asInserts} FROM snapshot s LEFT SEMI JOIN touched k ON ${same})`,
      ...rowHistory(target, wanted, traits),
      latest(target, "valued"),
    );
    values = target.columns
      .map((column) => (wanted.includes(column) ? `${valueName(column)}.v AS ${staged(column)}` : staged(column)))
      .join(", ");
  } else relations.push("changes AS (SELECT * FROM told)", latest(target, "changes"));
  return `${withWord(traits)} ${relations.join(",\n")}
SELECT ${known} FROM (
SELECT ${columns}${nullMeta} FROM kept
UNION ALL SELECT ${values}${metaNames} FROM latest WHERE NOT ${isDelete()}
)`;
}

/** The rows of a snapshot as those of a new table of a mode that keeps history. */
export function firstRows(target: WarehouseTarget, snapshot: string, point: CommitPoint): string {
  const lsn = point.commitLsn === null ? "NULL" : sqlLong(point.commitLsn);
  const time = sqlTimestamp(point.commitTimeMicros);
  switch (target.target.mode) {
    case "append":
      return `SELECT ${ownColumns(target, { _op: "'snapshot'", _commit_lsn: lsn, _commit_time: time })} FROM (\n${snapshot}\n)`;
    case "scd2": {
      const meta = { valid_from: time, is_current: "true", _commit_lsn: sqlLong(point.commitLsn ?? 0n) };
      return `SELECT ${ownColumns(target, meta)} FROM (\n${onePerKey(target, snapshot)}\n)`;
    }
    default:
      return `SELECT ${ownColumns(target, {})} FROM (\n${snapshot}\n)`;
  }
}

/** A snapshot that went on after a stop may hold a key twice. */
function onePerKey(target: WarehouseTarget, snapshot: string): string {
  return `SELECT * FROM (SELECT *, row_number() OVER (PARTITION BY ${keyList(target)} ORDER BY 1) AS _rank FROM (${snapshot})) WHERE _rank = 1`;
}

function currentSource(target: WarehouseTarget): string {
  return ownRows(target, target.target.mode === "scd2" ? "o.is_current" : "o._deleted_at IS NULL");
}

function atPoint(op: number, { commitLsn, commitTimeMicros }: CommitPoint): string {
  return `CAST(${op} AS TINYINT) AS _op, ${sqlLong(commitLsn ?? 0n)} AS _commit_lsn, CAST(0 AS BIGINT) AS _ordinal, ${sqlTimestamp(commitTimeMicros)} AS _commit_time, CAST(NULL AS STRING) AS _unchanged`;
}

/** What a new snapshot says against the rows of now, as changes with whole rows, all at one point. */
export function snapshotDifference(target: WarehouseTarget, snapshot: string, point: CommitPoint): string {
  const columns = (alias: string) => target.columns.map((column) => `${alias}.${staged(column)}`).join(", ");
  const equal = target.columns
    .map((column) => sameValue(column, `s.${staged(column)}`, `c.${staged(column)}`))
    .join(" AND ");
  const sameKeys = target.key.map((column) => `s.${staged(column)} <=> c.${staged(column)}`).join(" AND ");
  return `SELECT ${atPoint(changeOp.update, point)}, ${columns("s")} FROM (${onePerKey(target, snapshot)}) s
  LEFT ANTI JOIN (${currentSource(target)}) c ON ${equal}
UNION ALL SELECT ${atPoint(changeOp.delete, point)}, ${columns("c")} FROM (${currentSource(target)}) c
  LEFT ANTI JOIN (${snapshot}) s ON ${sameKeys}`;
}

/** TRUNCATE of a table that keeps history: every row of now is deleted. */
export function truncateChanges(target: WarehouseTarget, point: CommitPoint): string {
  const columns = target.columns.map((column) => `c.${staged(column)}`).join(", ");
  return `SELECT ${atPoint(changeOp.delete, point)}, ${columns} FROM (${currentSource(target)}) c`;
}

/** append: a snapshot's rows, or one without values that tells of a TRUNCATE. */
export function appendAt(
  target: WarehouseTarget,
  op: "snapshot" | "truncate",
  rows: string,
  { commitLsn, commitTimeMicros }: CommitPoint,
): MergeParts {
  const meta: Record<string, string> = {
    _op: `'${op}'`,
    _commit_lsn: commitLsn === null ? "CAST(NULL AS BIGINT)" : sqlLong(commitLsn),
    _ordinal: "CAST(NULL AS BIGINT)",
    _commit_time: sqlTimestamp(commitTimeMicros),
  };
  const values: [string, string][] = [
    ...target.columns.map((column): [string, string] => [sqlName(column.name), `s.${staged(column)}`]),
    ...target.meta.map(({ name }): [string, string] => [sqlName(name), meta[name]]),
  ];
  return { table: target.table, rows, ...onlyInsert(values) };
}

/** A row of NULLs. */
export function emptyRow({ columns }: WarehouseTarget): string {
  return `SELECT ${columns.map((column) => `CAST(NULL AS ${sqlType(column.deltaType)}) AS ${staged(column)}`).join(", ")}`;
}
