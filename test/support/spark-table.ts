import { DBSQLClient } from "@databricks/sql";
import type { DeltaBatch } from "./delta-reader";
import type { Destination } from "./equality";

/** Where Spark is reached as a warehouse is. */
export interface SparkAddress {
  port: number;
  caCert: string;
  token: string;
}

/** Of `DESCRIBE TABLE`, in Delta's words. */
const deltaNames: Record<string, string> = { smallint: "short", int: "integer", bigint: "long" };

/** SQL whose value comes here whole, and how it is read: a BIGINT would lose digits on its way. */
function reading(type: string, column: string): { sql: string; read: (value: unknown) => unknown } {
  const asIs = (value: unknown) => value;
  const whole = (sql: string) => ({ sql: `CAST(${sql} AS STRING)`, read: (value: unknown) => BigInt(value as string) });
  switch (type) {
    case "short":
    case "integer":
    case "long":
      return whole(column);
    case "date":
      return whole(`unix_date(${column})`);
    case "timestamp":
      return whole(`unix_micros(${column})`);
    case "timestamp_ntz":
      return whole(`unix_micros(CAST(${column} AS TIMESTAMP))`);
    case "binary":
      return { sql: `hex(${column})`, read: (value) => Buffer.from(value as string, "hex") };
    case "string":
    case "boolean":
    case "double":
      return { sql: column, read: asIs };
    default:
      if (type.startsWith("decimal(")) return { sql: `CAST(${column} AS STRING)`, read: asIs };
      throw new Error(`no way to read ${type} through Spark`);
  }
}

/** Rows of a query, chunk by chunk, by a session of its own. */
async function* chunksOf(address: SparkAddress, statement: string): AsyncGenerator<Record<string, unknown>[]> {
  const client = new DBSQLClient({ logger: { log: () => {} } as never });
  const connected = await client.connect({
    ...{ host: "localhost", port: address.port, path: "/sql/1.0/warehouses/spark", token: address.token },
    ...{ customCaCert: address.caCert, telemetryEnabled: false },
  });
  try {
    const session = await connected.openSession();
    await (await session.executeStatement("SET TIME ZONE 'UTC'")).fetchAll();
    const operation = await session.executeStatement(statement);
    do yield (await operation.fetchChunk({ maxRows: 20_000 })) as Record<string, unknown>[];
    while (await operation.hasMoreRows());
    await session.close();
  } finally {
    await client.close();
  }
}

async function rowsOf(address: SparkAddress, statement: string): Promise<Record<string, unknown>[]> {
  const rows: Record<string, unknown>[] = [];
  for await (const chunk of chunksOf(address, statement)) rows.push(...chunk);
  return rows;
}

const quoted = (name: string) => `\`${name.replaceAll("`", "``")}\``;

/** A table as Spark reads it, with values as those of `openDelta` are. Shares no code with the runtime. */
export async function openSparkTable(
  address: SparkAddress,
  { schema, name }: { schema: string; name: string },
): Promise<Destination & { version: number; countRows(): Promise<number> }> {
  const table = `${quoted(schema)}.${quoted(name)}`;
  const columns: Destination["columns"] = [];
  for (const { col_name, data_type } of await rowsOf(address, `DESCRIBE TABLE ${table}`)) {
    if (col_name === "" || String(col_name).startsWith("# ")) break;
    const type = deltaNames[String(data_type)] ?? String(data_type);
    columns.push({ name: String(col_name), type, physicalName: String(col_name) });
  }
  const readings = columns.map(({ name: column, type }) => reading(type, quoted(column)));
  const query = `SELECT ${readings.map(({ sql }, at) => `${sql} AS c${at}`).join(", ")} FROM ${table}`;
  const [{ version }] = await rowsOf(address, `DESCRIBE HISTORY ${table} LIMIT 1`);
  return {
    version: Number(version),
    columns,
    async *batches(): AsyncGenerator<DeltaBatch> {
      for await (const rows of chunksOf(address, query)) {
        const read = readings.map(({ read: one }, at) =>
          rows.map((row) => (row[`c${at}`] === null ? null : one(row[`c${at}`]))),
        );
        yield { columns: read, count: rows.length };
      }
    },
    async countRows() {
      return Number((await rowsOf(address, `SELECT CAST(count(*) AS STRING) AS n FROM ${table}`))[0].n);
    },
  };
}
