import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DuckDBInstance, type DuckDBValue } from "@duckdb/node-api";
import type { Client } from "pg";
import { readTableSchemas } from "../../runtime/change/catalog";
import { ParquetFile } from "../../runtime/change/parquet-writer";
import type { SealedRows } from "../../runtime/change/sealed-rows";
import { TableSpool, type TransactionMeta } from "../../runtime/change/spool";
import { copyTable } from "../../runtime/change/table-copy";
import type { TableSchema } from "../../runtime/change/table-schema";
import { type TypeOptions, typeOptionsSchema } from "../../runtime/config";
import { PgoutputReader } from "../../runtime/postgres/pgoutput";

/** The schema of a published table. */
export async function schemaOf(
  client: Client,
  publication: string,
  name: string,
  types: Partial<TypeOptions> = {},
): Promise<TableSchema> {
  const options = typeOptionsSchema.parse(types);
  const found = (await readTableSchemas(client, publication, options)).find(({ schema }) => schema.name === name);
  if (found === undefined) throw new Error(`${name} is not in publication ${publication}`);
  return { ...found.schema, schemaId: 1 };
}

/** What a slot has for one table, as the gateway's spool takes it. `peek`: the slot keeps it. */
export async function streamedRows(
  client: Client,
  slot: string,
  publication: string,
  schema: TableSchema,
  { binary = false, peek = false, beforeImages = false } = {},
) {
  const { rows } = await client.query<{ data: Buffer }>(
    `SELECT data FROM pg_logical_slot_${peek ? "peek" : "get"}_binary_changes($1, NULL, NULL, 'proto_version', '2',
       'publication_names', $2, 'binary', $3)`,
    [slot, publication, String(binary)],
  );
  const spool = new TableSpool(schema, "changes", beforeImages);
  let transaction: TransactionMeta = { commitLsn: 0n, commitTimeMicros: 0n, nextOrdinal: 0 };
  const isOurs = (relationId: number) => String(relationId) === schema.tableId;
  const reader = new PgoutputReader({
    begin: (commitLsn, commitTimeMicros) => {
      transaction = { commitLsn, commitTimeMicros, nextOrdinal: 0 };
    },
    commit: () => {},
    relation: () => {},
    truncate: () => {},
    message: () => {},
    insert: (id, buffer, newTuple, end) => {
      if (isOurs(id)) spool.appendInsert(buffer, newTuple, end, transaction);
    },
    update: (id, buffer, oldTuple, oldKind, newTuple, end) => {
      if (isOurs(id)) spool.appendUpdate(buffer, oldTuple, oldKind, newTuple, end, transaction);
    },
    delete: (id, buffer, oldTuple, oldKind, end) => {
      if (isOurs(id)) spool.appendDelete(buffer, oldTuple, oldKind, end, transaction);
    },
  });
  for (const { data } of rows) reader.read(data, 0, data.length);
  return spool.seal();
}

export async function copiedRows(client: Client, schema: TableSchema): Promise<SealedRows[]> {
  const sealed: SealedRows[] = [];
  await copyTable(
    client,
    schema,
    { relation: schema, rowFilter: null, blocks: null },
    {
      rowsMax: 100_000,
      bytesMax: 1 << 26,
      rowBytesMax: 1 << 28,
      signal: AbortSignal.timeout(30_000),
      onRows: async (rows) => {
        sealed.push(rows);
        return "kept";
      },
    },
  );
  return sealed;
}

/** The values of sealed rows as DuckDB reads them back from the Parquet file that they became. */
export async function readBack(
  sealed: SealedRows,
  select: string,
): Promise<{ columns: string[]; rows: DuckDBValue[][] }> {
  const folder = mkdtempSync(join(tmpdir(), "sluice-parquet-"));
  const instance = await DuckDBInstance.create(":memory:");
  try {
    const path = join(folder, "rows.parquet");
    const file = new ParquetFile(sealed.columns);
    await file.append(sealed);
    await file.write(path);
    const connection = await instance.connect();
    await connection.run("SET TimeZone = 'UTC'");
    const reader = await connection.runAndReadAll(select.replace("$file", `read_parquet('${path}')`));
    connection.closeSync();
    return { columns: reader.columnNames(), rows: reader.getRows() };
  } finally {
    instance.closeSync();
    rmSync(folder, { recursive: true, force: true });
  }
}
