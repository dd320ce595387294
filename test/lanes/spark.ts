// Spark with Delta reads what the applier made and what we went on with, and writes where the applier writes. Usage: spark PYTHON FOLDER; FOLDER keeps Spark's jars.
// Exits 77 when Spark can't be started, as its jars come from Maven Central.
import { cpSync, mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DuckDbSession } from "../../runtime/destination/duckdb-session";
import { continueTable, goldenFolder, goldenTables } from "../support/golden-tables";
import { LaneReport } from "./lane-report";
import { rivalWriter } from "./spark-rival";
import { SparkSession } from "./spark-session";
import { type ExpectedTable, expectedTable, makeTableSet } from "./table-set";

const lane = new LaneReport();
const report = lane.check;

async function history(spark: SparkSession, { path }: ExpectedTable): Promise<string[]> {
  const rows = await spark.sql(`DESCRIBE HISTORY delta.\`${path}\``);
  const problems: string[] = [];
  for (const { version, operation, operationMetrics } of rows) {
    const metrics = operationMetrics as Record<string, string> | null;
    if (!["MERGE", "SNAPSHOT", "OPTIMIZE"].includes(operation as string)) problems.push(`${version}: ${operation}`);
    if (metrics === null || Object.keys(metrics).length < 2) problems.push(`${version}: no operation metrics`);
  }
  return rows.length < 2 ? [`only ${rows.length} versions`] : problems;
}

async function main(python: string, folder: string): Promise<void> {
  mkdirSync(folder, { recursive: true });
  const spark = await startSpark(python, folder);
  const tables = mkdtempSync(join(tmpdir(), "sluice-spark-"));
  try {
    for (const table of await makeTableSet(tables)) {
      report(`${table.name}: ${table.rows} rows, ${table.vectors} files with vectors`, await spark.compare(table));
      if (table.name === "orders") report("history of orders", await history(spark, table));
    }
    for (const table of await continuedTables(tables))
      report(`${table.name}, gone on with`, await spark.compare(table));
    await rivalWriter(spark, tables, report);
  } finally {
    await spark.close();
    rmSync(tables, { recursive: true, force: true });
  }
}

/** Tables that Spark and delta-rs wrote, with commits of ours. */
async function continuedTables(folder: string): Promise<ExpectedTable[]> {
  const tables: ExpectedTable[] = [];
  const session = await DuckDbSession.open({ memoryBytesMax: 256 * 1024 * 1024, temporaryPath: join(folder, "spill") });
  try {
    for (const { name } of goldenTables) {
      const path = join(folder, "golden", name);
      cpSync(join(goldenFolder, name), path, { recursive: true });
      await continueTable(path, session);
      tables.push(await expectedTable(path, folder));
    }
  } finally {
    await session.close();
  }
  return tables;
}

/** Twice, as a registry may give a file in part. */
async function startSpark(python: string, folder: string): Promise<SparkSession> {
  for (let attempt = 1; ; attempt++) {
    try {
      const spark = await SparkSession.start(python, folder);
      console.log(`Spark ${spark.version}`);
      return spark;
    } catch (error) {
      if (!/download failed|unresolved dependency/.test(String(error))) throw error;
      if (attempt < 3) continue;
      console.log(`Spark's jars can't be had: ${String(error).slice(0, 2000)}`);
      process.exit(77);
    }
  }
}

main(process.argv[2], process.argv[3]).then(
  () => process.exit(lane.isPassed ? 0 : 1),
  (error: unknown) => {
    console.error(error);
    process.exit(1);
  },
);
