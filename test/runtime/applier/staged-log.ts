import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type DuckDBConnection, DuckDBInstance } from "@duckdb/node-api";
import type { DeltaType, TableSchema } from "../../../runtime/change/table-schema";
import { type ApplierConfig, maintenanceSchema } from "../../../runtime/config";
import { duckDbType } from "../../../runtime/destination/delta/table-metadata";
import { IdlePosition, writeFollowedSource } from "../../../runtime/gateway/staging-state";
import { formatLsn, type Lsn } from "../../../runtime/postgres/lsn";
import { openFolderStore } from "../../../runtime/staging/folder-store";
import type { ObjectStore } from "../../../runtime/staging/object-store";
import {
  type StagedCommit,
  type StagedEvent,
  type StagedFile,
  schemaKey,
} from "../../../runtime/staging/staged-commit";
import { appendCommit, openLogIdentity } from "../../../runtime/staging/staging-log";

/** A value as SQL text, or null. */
export type Sql = string | null;

export interface Change {
  op: 0 | 1 | 2 | 3 | 4;
  /** by column name; those left out are NULL */
  row: Record<string, Sql>;
  /** names of columns whose value was not sent */
  unchanged?: string[];
}

/** Writes a staging log as a gateway does, Parquet by DuckDB, without a gateway. */
export class StagedLog {
  private sequence = 0;
  private files = 0;
  private lsn = 1000n;
  private endLsn = 1000n;
  private readonly tables: StagedCommit["tables"] = {};
  private events: StagedEvent[] = [];

  private constructor(
    readonly store: ObjectStore,
    readonly folder: string,
    readonly logId: string,
    private readonly duckdb: DuckDBConnection,
    private readonly instance: DuckDBInstance,
  ) {}

  static async open(folder = mkdtempSync(join(tmpdir(), "sluice-staged-"))): Promise<StagedLog> {
    const store = await openFolderStore(join(folder, "staging"));
    await writeFollowedSource(store, { systemIdentifier: "1", timeline: 1, failover: false });
    await new IdlePosition(store, 0n as Lsn).restart(1n as Lsn);
    const instance = await DuckDBInstance.create(":memory:", { threads: "1" });
    return new StagedLog(store, folder, await openLogIdentity(store), await instance.connect(), instance);
  }

  get destination(): string {
    return join(this.folder, "lake");
  }

  get head(): number {
    return this.sequence;
  }

  config(changes: Partial<ApplierConfig> = {}): ApplierConfig {
    return {
      version: 1,
      id: "test",
      role: "applier",
      statusPath: join(this.folder, "status.json"),
      http: { port: 0 },
      stagingPath: join(this.folder, "staging"),
      staging: { kind: "folder" },
      destination: { kind: "local", path: this.destination },
      trigger: { kind: "once" },
      onRemove: "keep",
      tables: [],
      runsKeptMax: 50,
      maintenance: maintenanceSchema.parse({}),
      memoryBytesMax: 256 * 1024 * 1024,
      ...changes,
    };
  }

  async schema(schema: TableSchema): Promise<void> {
    await this.store.putIfAbsent(schemaKey(schema.tableId, schema.schemaId), JSON.stringify(schema));
    const known = this.tables[schema.tableId] ?? { snapshotId: null, snapshotComplete: false, snapshots: 0 };
    this.tables[schema.tableId] = { ...known, schemaId: schema.schemaId, schema: schema.schema, name: schema.name };
  }

  begin(schema: TableSchema, snapshotId: string): void {
    const { tableId, schemaId } = schema;
    this.events.push({ kind: "snapshot-begin", tableId, schemaId, snapshotId, rowsEstimate: 0 });
    const known = this.tables[tableId];
    const snapshots = (known?.snapshots ?? 0) + 1;
    this.tables[tableId] = { ...known, snapshotId, snapshotComplete: false, snapshots };
  }

  /** The table waits for another snapshot; what is told of it is its last one's id, as a gateway does. */
  awaits(schema: TableSchema): void {
    this.tables[schema.tableId] = { ...this.tables[schema.tableId], snapshotComplete: false };
  }

  async rows(schema: TableSchema, snapshotId: string, rows: Record<string, Sql>[]): Promise<void> {
    const files = [
      await this.write(
        schema,
        rows.map((row) => values(schema, row)),
        "",
      ),
    ];
    this.events.push({ kind: "snapshot-rows", tableId: schema.tableId, schemaId: schema.schemaId, snapshotId, files });
  }

  end(schema: TableSchema, snapshotId: string, rows = 0): void {
    const known = this.tables[schema.tableId];
    if (known !== undefined) known.snapshotComplete = true;
    this.events.push({ kind: "snapshot-end", tableId: schema.tableId, schemaId: schema.schemaId, snapshotId, rows });
  }

  /**
   * One transaction. `streamed`: as a large one whose file was written before its commit, with changes behind it of a
   * subtransaction that was rolled back.
   */
  async changes(schema: TableSchema, changes: Change[], streamed?: { aborted: Change[] }): Promise<void> {
    const commitLsn = ++this.lsn;
    const all = [...changes, ...(streamed?.aborted ?? [])];
    const rows = all.map(({ op, row, unchanged = [] }, ordinal) => {
      const numbers = unchanged.map((name) => schema.columns.find((column) => column.name === name)?.attributeNumber);
      const marks = numbers.length === 0 ? "NULL" : `',${numbers.join(",")},'`;
      const head = [
        `${op}::TINYINT`,
        streamed ? "NULL::BIGINT" : `${commitLsn}::BIGINT`,
        `${ordinal}::BIGINT`,
        streamed ? "NULL::TIMESTAMP" : `make_timestamp(${commitTimeMicros(commitLsn)})`,
        `${marks}::VARCHAR`,
      ];
      return `${head.join(", ")}, ${values(schema, row)}`;
    });
    const count = (op: number) => changes.filter((change) => change.op === op).length;
    const file = await this.write(schema, rows, "_op, _commit_lsn, _ordinal, _commit_time, _unchanged, ");
    const ordinalEnd = all.length > changes.length ? changes.length : undefined;
    const beforeImages = all.some(({ op }) => op === 4) || undefined;
    const files: StagedFile[] = [{ ...file, rows: changes.length, ordinalEnd, beforeImages }];
    const transaction = { commitLsn: String(commitLsn), commitTimeMicros: String(commitTimeMicros(commitLsn)) };
    this.events.push({
      kind: "changes",
      tableId: schema.tableId,
      schemaId: schema.schemaId,
      ...(streamed ? { transaction } : {}),
      files,
      inserts: count(0),
      updates: count(1),
      deletes: count(2),
    });
  }

  /** A snapshot's rows by a query that gives the columns in order. */
  async rowsOf(schema: TableSchema, snapshotId: string, query: string): Promise<void> {
    const [{ tableId, schemaId }, file] = [schema, await this.copy(schema, query, "")];
    this.events.push({ kind: "snapshot-rows", tableId, schemaId, snapshotId, files: [file] });
  }

  /** One transaction of many changes: `values` are the operation and the columns, by SQL over `i` from 0. */
  async changesOf(schema: TableSchema, count: number, values: string): Promise<void> {
    const commitLsn = ++this.lsn;
    const time = `make_timestamp(${commitTimeMicros(commitLsn)})`;
    const names = schema.columns.map(({ physicalName }) => physicalName).join(", ");
    const file = await this.copy(
      schema,
      `SELECT op, ${commitLsn}::BIGINT, i, ${time}, NULL::VARCHAR, ${names} FROM (SELECT i, ${values} FROM range(${count}) r(i)) v(i, op, ${names})`,
      "_op, _commit_lsn, _ordinal, _commit_time, _unchanged, ",
    );
    const { tableId, schemaId } = schema;
    this.events.push({ kind: "changes", tableId, schemaId, files: [file], inserts: 0, updates: count, deletes: 0 });
  }

  event(kind: "truncate" | "removed", { tableId, schemaId }: TableSchema): void {
    if (kind === "removed") this.events.push({ kind, tableId, schemaId });
    else {
      const commitLsn = ++this.lsn;
      const transaction = { commitLsn: String(commitLsn), commitTimeMicros: String(commitTimeMicros(commitLsn)) };
      this.events.push({ kind, tableId, schemaId, transaction });
    }
    if (kind === "removed") delete this.tables[tableId];
  }

  /** From here on the table has this schema; `fill`: values that rows of before have in new columns. */
  async schemaChange(schema: TableSchema, fill?: Record<string, Sql>): Promise<void> {
    await this.schema(schema);
    const { tableId, schemaId } = schema;
    const columns = schema.columns.filter(({ name }) => fill !== undefined && name in fill);
    const filled = { ...schema, columns };
    const file = fill === undefined ? {} : { fill: await this.write(filled, [values(filled, fill)], "") };
    this.events.push({ kind: "schema", tableId, schemaId, ...file });
  }

  /** Stages what was told since the last commit. */
  async commit(): Promise<number> {
    this.sequence++;
    const startLsn = this.endLsn;
    this.endLsn = ++this.lsn;
    await appendCommit(this.store, {
      version: 1,
      sequence: this.sequence,
      epoch: "test",
      startLsn: formatLsn(startLsn as Lsn),
      endLsn: formatLsn(this.endLsn as Lsn),
      stagedAt: new Date().toISOString(),
      events: this.events,
      tables: { ...this.tables },
    });
    this.events = [];
    return this.sequence;
  }

  /** A snapshot in one record. */
  async snapshot(schema: TableSchema, rows: Record<string, Sql>[], snapshotId = `s${this.sequence}`): Promise<void> {
    await this.schema(schema);
    this.begin(schema, snapshotId);
    if (rows.length > 0) await this.rows(schema, snapshotId, rows);
    this.end(schema, snapshotId, rows.length);
    await this.commit();
  }

  private write(schema: TableSchema, rows: string[], head: string): Promise<StagedFile> {
    return this.copy(schema, `VALUES ${rows.map((row) => `(${row})`).join(",\n")}`, head);
  }

  private async copy(schema: TableSchema, query: string, head: string): Promise<StagedFile> {
    const key = `data/t-${String(this.files++).padStart(6, "0")}.parquet`;
    const path = await this.store.beginFile(key);
    const names = head + schema.columns.map((column) => column.physicalName).join(", ");
    const written = await this.duckdb.runAndReadAll(
      `COPY (SELECT * FROM (${query}) v(${names})) TO '${path}' (FORMAT parquet, COMPRESSION zstd, DICTIONARY_SIZE_LIMIT 0)`,
    );
    const { bytes } = await this.store.commitFile(key);
    return { path: key, rows: Number(written.getRowsJson()[0][0]), bytes };
  }

  close(): void {
    this.duckdb.closeSync();
    this.instance.closeSync();
    rmSync(this.folder, { recursive: true, force: true });
  }
}

/** A second for each transaction; every fifth has a clock that is behind. */
function commitTimeMicros(commitLsn: bigint): bigint {
  return 1_767_225_600_000_000n + (commitLsn - (commitLsn % 5n === 0n ? 8n : 0n)) * 1_000_000n;
}

function values(schema: TableSchema, row: Record<string, Sql>): string {
  return schema.columns
    .map(({ name, deltaType }) => `CAST(${row[name] ?? "NULL"} AS ${duckDbType(deltaType)})`)
    .join(", ");
}

/** `columns`: name → Delta type, `*` after the type of key columns. */
export function tableSchema(tableId: string, name: string, columns: Record<string, string>, schemaId = 1): TableSchema {
  let keys = 0;
  return {
    version: 1,
    tableId,
    schemaId,
    schema: "public",
    name,
    replicaIdentity: "d",
    columns: Object.entries(columns).map(([column, type], index) => ({
      attributeNumber: index + 1,
      name: column,
      physicalName: `c${index + 1}`,
      typeOid: 0,
      typeModifier: -1,
      typeName: type,
      deltaType: type.replace("*", "") as DeltaType,
      keyOrdinal: type.endsWith("*") ? ++keys : null,
    })),
  };
}
