import { join } from "node:path";
import { DuckDBInstance } from "@duckdb/node-api";
import type { TableSchema } from "../../runtime/change/table-schema";
import { openFolderStore } from "../../runtime/staging/folder-store";
import type { ObjectStore } from "../../runtime/staging/object-store";
import { type StagedCommit, type StagedEvent, type StagedFile, schemaKey } from "../../runtime/staging/staged-commit";
import { appendCommit, openLogIdentity } from "../../runtime/staging/staging-log";

const tableId = "16384";
const filesOfSnapshot = 10;

const columns: [name: string, typeOid: number, deltaType: TableSchema["columns"][number]["deltaType"]][] = [
  ["id", 20, "long"],
  ["name", 25, "string"],
  ["amount", 1700, "decimal(12,2)"],
  ["updated", 1114, "timestamp_ntz"],
  ["quantity", 23, "integer"],
  ["note", 25, "string"],
];

const schema: TableSchema = {
  version: 1,
  tableId,
  schemaId: 1,
  schema: "public",
  name: "big",
  replicaIdentity: "d",
  columns: columns.map(([name, typeOid, deltaType], index) => ({
    attributeNumber: index + 1,
    name,
    physicalName: `c${index + 1}`,
    typeOid,
    typeModifier: -1,
    typeName: deltaType,
    deltaType,
    keyOrdinal: index === 0 ? 1 : null,
  })),
};

const values = `i AS c1, 'customer ' || i AS c2, (i * 1.25)::DECIMAL(12,2) AS c3, TIMESTAMP '2024-01-01' + INTERVAL (i) SECOND AS c4,
  (i % 1000)::INTEGER AS c5, md5(i::VARCHAR) AS c6`;

/** A staging log with a big table's snapshot; `changes` adds a record of updates of its rows. */
export async function stageTable(path: string, rows: number) {
  const store = await openFolderStore(path);
  const instance = await DuckDBInstance.create(":memory:", { threads: "2" });
  const connection = await instance.connect();
  const write = async (name: string, query: string, count: number): Promise<StagedFile> => {
    const key = `data/${name}.parquet`;
    const target = await store.beginFile(key);
    await connection.run(`COPY (${query}) TO '${target}' (FORMAT parquet, COMPRESSION zstd)`);
    return { path: key, rows: count, bytes: (await store.commitFile(key)).bytes };
  };
  await openLogIdentity(store);
  await store.putIfAbsent(schemaKey(tableId, 1), JSON.stringify(schema));
  const perFile = Math.ceil(rows / filesOfSnapshot);
  const files: StagedFile[] = [];
  for (let from = 0; from < rows; from += perFile) {
    const to = Math.min(from + perFile, rows);
    files.push(await write(`snapshot-${from}`, `SELECT ${values} FROM range(${from}, ${to}) t(i)`, to - from));
  }
  const table = { tableId, schemaId: 1 };
  await append(store, 1, [
    { kind: "snapshot-begin", ...table, snapshotId: "s", rowsEstimate: rows },
    { kind: "snapshot-rows", ...table, snapshotId: "s", files },
    { kind: "snapshot-end", ...table, snapshotId: "s", rows },
  ]);
  let sequence = 1;
  return {
    snapshotFiles: files.map((file) => join(path, file.path)),
    /** Where the newest file of changes lies. */
    get changesPath(): string {
      return join(path, "data", `changes-${sequence}.parquet`);
    },
    get sequence(): number {
      return sequence;
    },
    /** Stages updates of about so many rows: random ones, or those after each other in the middle. @returns how many */
    async changes(about: number, keys: "random" | "clustered" = "random"): Promise<number> {
      sequence++;
      const chosen = keys === "random" ? `hash(n + ${sequence * about}) % ${rows}` : `${Math.floor(rows / 2)} + n`;
      const query = `SELECT 1::TINYINT AS _op, ${sequence * 100}::BIGINT AS _commit_lsn, row_number() OVER () - 1 AS _ordinal,
          TIMESTAMP '2024-01-01' AS _commit_time, NULL::VARCHAR AS _unchanged,
          * REPLACE ('changed ${sequence} ' || c1 AS c2)
        FROM (SELECT ${values} FROM (SELECT DISTINCT ${chosen} AS i FROM range(${about}) t(n)) u)`;
      const counted = await connection.runAndReadAll(`SELECT count(*)::INTEGER FROM (${query})`);
      const count = counted.getRows()[0][0] as number;
      const file = await write(`changes-${sequence}`, query, count);
      const files: StagedFile[] = [file];
      await append(store, sequence, [{ kind: "changes", ...table, files, inserts: 0, updates: count, deletes: 0 }]);
      return count;
    },
    close() {
      connection.closeSync();
      instance.closeSync();
    },
  };
}

function append(store: ObjectStore, sequence: number, events: StagedEvent[]): Promise<void> {
  const state = { schemaId: 1, schema: "public", name: "big", snapshotId: "s", snapshotComplete: true, snapshots: 1 };
  const record: StagedCommit = {
    version: 1,
    sequence,
    epoch: "bench",
    startLsn: `0/${sequence}0`,
    endLsn: `0/${sequence + 1}0`,
    stagedAt: new Date().toISOString(),
    events,
    tables: { [tableId]: state },
  };
  return appendCommit(store, record);
}
