import { join } from "node:path";
import { DuckDBInstance } from "@duckdb/node-api";
import type { TableMode } from "../../../runtime/table-options";
import { readRecords } from "../../support/staging-replay";

/** Values of id, name and amount, as the delta reader gives them. */
type Row = unknown[];
interface Change {
  op: number;
  row: Row;
  unchanged: boolean;
  lsn: bigint | null;
  ordinal: bigint | null;
  time: bigint;
}
interface Version {
  row: Row;
  from: bigint;
  to: bigint | null;
  lsn: bigint | null;
  ordinal: bigint | null;
}

/**
 * What a table of each mode holds after all staged records, told change by change: the plain model of the modes. For
 * tables with the columns id (the key), name and amount, of which name may not be sent.
 */
class ModeTable {
  readonly live = new Map<string, Row>();
  private readonly soft = new Map<string, { row: Row; deletedAt: bigint | null }>();
  private readonly history: unknown[][] = [];
  /** indexes of what the history has by option only */
  private readonly images = new Set<number>();
  private readonly versions: Version[] = [];
  private readonly current = new Map<string, Version>();
  private moved: Row | null = null;
  open: { id: string; rows: Row[]; lsn: bigint; time: bigint; later: (() => void)[] } | null = null;
  isComplete = false;

  /** A snapshot: its rows, as of a point. */
  replace(rows: Row[], lsn: bigint, time: bigint): void {
    for (const row of rows) this.history.push([...row, "snapshot", lsn, null, time]);
    const wanted = new Map(rows.map((row) => [String(row[0]), row]));
    for (const [key, row] of [...this.live]) if (!wanted.has(key)) this.end(key, row, time);
    for (const [key, row] of wanted) {
      const known = this.live.get(key);
      if (known?.every((value, index) => Object.is(value, row[index]))) continue;
      this.begin(key, row, { lsn, ordinal: null, time });
    }
  }

  apply(change: Change): void {
    const { op, lsn, ordinal, time } = change;
    const key = String(change.row[0]);
    const known = this.live.get(key);
    if (op === 4) {
      this.images.add(this.history.push([...change.row, "update_preimage", lsn, ordinal, time]) - 1);
      return;
    }
    if (op === 2 || op === 3) {
      this.history.push([...change.row, "delete", lsn, ordinal, time]);
      this.moved = op === 3 ? (known as Row) : null;
      this.end(key, known as Row, time);
      return;
    }
    const before = this.moved ?? known;
    this.moved = null;
    const row = change.unchanged ? [change.row[0], (before as Row)[1], change.row[2]] : change.row;
    this.history.push([...row, op === 0 ? "insert" : "update", lsn, ordinal, time]);
    this.begin(key, row, change);
  }

  truncate(lsn: bigint | null, time: bigint): void {
    this.history.push([null, null, null, "truncate", lsn, null, time]);
    for (const [key, row] of [...this.live]) this.end(key, row, time);
  }

  private begin(key: string, row: Row, { lsn, ordinal, time }: Pick<Change, "lsn" | "ordinal" | "time">): void {
    this.live.set(key, row);
    this.soft.set(key, { row, deletedAt: null });
    const from = this.close(key, time);
    const version = { row, from, to: null, lsn, ordinal };
    this.versions.push(version);
    this.current.set(key, version);
  }

  private end(key: string, row: Row, time: bigint): void {
    this.live.delete(key);
    this.soft.set(key, { row, deletedAt: time });
    this.close(key, time);
    this.current.delete(key);
  }

  private close(key: string, time: bigint): bigint {
    const version = this.current.get(key);
    if (version === undefined) return time;
    version.to = time > version.from ? time : version.from;
    return version.to;
  }

  /** Rows as texts, in no order; ordinals of rows that a snapshot made are left out, as they mean nothing. */
  rows(mode: TableMode, beforeImage = false): string[] {
    switch (mode) {
      case "scd1":
        return [...this.live.values()].map(text);
      case "softDelete":
        return [...this.soft.values()].map(({ row, deletedAt }) => text([...row, deletedAt]));
      case "append":
        return this.history.filter((_, index) => beforeImage || !this.images.has(index)).map(text);
      case "scd2":
        return this.versions.map(({ row, from, to, lsn, ordinal }) =>
          text([...row, from, to, to === null, lsn, ordinal]),
        );
    }
  }
}

function text(values: unknown[]): string {
  return values.map((value) => (Object.is(value, -0) ? "-0" : String(value))).join("|");
}

/** Tables by oid; `tableIds`: those only. */
export async function replayModes(stagingPath: string, tableIds?: string[]): Promise<Map<string, ModeTable>> {
  const instance = await DuckDBInstance.create(":memory:");
  const connection = await instance.connect();
  const read = async (path: string, columns: string, order: string): Promise<unknown[][]> => {
    const source = `read_parquet('${join(stagingPath, path)}')`;
    return (await connection.runAndReadAll(`SELECT ${columns} FROM ${source} ${order}`)).getRowsJS();
  };
  const tables = new Map<string, ModeTable>();
  try {
    for (const record of readRecords(stagingPath)) {
      for (const event of record.events) {
        if (tableIds?.includes(event.tableId) === false) continue;
        const table = tables.get(event.tableId) ?? new ModeTable();
        tables.set(event.tableId, table);
        switch (event.kind) {
          case "snapshot-begin": {
            const lsn = BigInt(`0x${record.startLsn.split("/")[1]}`);
            const time = BigInt(Date.parse(record.stagedAt)) * 1000n;
            table.open = { id: event.snapshotId, rows: [], lsn, time, later: [] };
            break;
          }
          case "snapshot-rows":
            for (const file of event.files) table.open?.rows.push(...(await read(file.path, "c1, c2, c3", "")));
            break;
          case "snapshot-end": {
            const open = table.open as NonNullable<typeof table.open>;
            table.open = null;
            table.isComplete = true;
            table.replace(open.rows, open.lsn, open.time);
            for (const act of open.later) act();
            break;
          }
          case "changes":
            for (const file of event.files) {
              const columns = "c1, c2, c3, _op, _unchanged IS NOT NULL, _commit_lsn, _ordinal, epoch_us(_commit_time)";
              const where = file.ordinalEnd === undefined ? "" : `WHERE _ordinal < ${file.ordinalEnd}`;
              const { transaction } = event;
              for (const row of await read(file.path, columns, `${where} ORDER BY _commit_lsn, _ordinal`)) {
                const change = {
                  row: row.slice(0, 3),
                  op: row[3] as number,
                  unchanged: row[4] as boolean,
                  lsn: transaction === undefined ? (row[5] as bigint) : BigInt(transaction.commitLsn),
                  ordinal: row[6] as bigint,
                  time: transaction === undefined ? (row[7] as bigint) : BigInt(transaction.commitTimeMicros),
                };
                if (table.open === null) table.apply(change);
                else table.open.later.push(() => table.apply(change));
              }
            }
            break;
          case "truncate": {
            const { commitLsn, commitTimeMicros } = event.transaction as NonNullable<typeof event.transaction>;
            const truncate = () => table.truncate(BigInt(commitLsn), BigInt(commitTimeMicros));
            if (table.open !== null) table.open.later.push(truncate);
            else truncate();
            break;
          }
          default:
            throw new Error(`the model has no ${event.kind}`);
        }
      }
    }
  } finally {
    connection.closeSync();
    instance.closeSync();
  }
  return tables;
}
