import { once } from "node:events";
import { createWriteStream, mkdirSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { cp } from "node:fs/promises";
import { join } from "node:path";
import { writeCheckpoint } from "../../runtime/destination/delta/checkpoint";
import { DeltaTable } from "../../runtime/destination/delta/delta-table";
import { DuckDbSession } from "../../runtime/destination/duckdb-session";
import { eagerMaintenance } from "../runtime/applier/eager-maintenance";
import { openDelta } from "../support/delta-reader";
import { eachLine } from "../support/equality";
import { Pipeline } from "../support/pipeline";
import { startPostgres } from "../support/postgres-server";
import { tableSetBatches, tableSetLast, tableSetOptions, tableSetSetup } from "./table-set-source";

/** A table for engines that we didn't write, and what they must find in it. */
export interface ExpectedTable {
  name: string;
  path: string;
  /** files with deletion vectors */
  vectors: number;
  columns: { name: string; type: string }[];
  rows: number;
  /** file of the rows as canonical text (test/support/canonical-value.ts), a line each, in no order */
  linesPath: string;
}

const modesOfSource = new Set(["kept", "history", "versions"]);

/**
 * Makes tables of every kind by the real gateway and applier over a real PostgreSQL, proves those that are the source's
 * rows against it, and writes what a reader must find into `<folder>/tables.json`.
 */
export async function makeTableSet(folder: string): Promise<ExpectedTable[]> {
  const postgres = await startPostgres();
  const pipeline = await Pipeline.open(postgres, tableSetSetup, { types: { arrays: "nested" } });
  const lake = join(folder, "lake");
  mkdirSync(folder, { recursive: true });
  try {
    await applyBatches(pipeline);
    const names = await tableNames(pipeline);
    for (const name of names) {
      if (modesOfSource.has(name)) continue;
      const differences = await pipeline.differences(name);
      if (differences.length > 0) throw new Error(differences.join("\n"));
    }
    await pipeline.applier.stop();
    await cp(join(pipeline.folder, "lake"), lake, { recursive: true });
  } finally {
    await pipeline.close();
    await postgres.stop();
  }
  const paths = readdirSync(join(lake, "public")).map((name) => join(lake, "public", name));
  paths.push(await withManyParts(join(lake, "public", "orders"), join(lake, "public", "many_parts")));
  const tables: ExpectedTable[] = [];
  for (const path of paths) tables.push(await expectedTable(path, folder));
  const withVectors = tables.filter(({ vectors }) => vectors > 0).length;
  if (withVectors < 7) throw new Error(`only ${withVectors} tables have deletion vectors`);
  writeFileSync(join(folder, "tables.json"), JSON.stringify(tables));
  return tables;
}

async function applyBatches(pipeline: Pipeline): Promise<void> {
  Object.assign(pipeline.applier.config, { tables: tableSetOptions });
  pipeline.start();
  await pipeline.settled();
  const run = async (statements: string[]) => {
    for (const statement of statements) await pipeline.client.query(statement);
    await pipeline.settled();
  };
  const batches = tableSetBatches();
  const setMaintenance = async (maintenance: object) => {
    await pipeline.applier.stop();
    Object.assign(pipeline.applier.config, { maintenance });
    pipeline.applier.start();
  };
  for (const batch of batches.slice(0, 16)) await run(batch);
  await setMaintenance(eagerMaintenance);
  for (const batch of batches.slice(16)) await run(batch);
  await setMaintenance({ compaction: false, vacuum: false });
  // One version of each table, whose change feed is looked at.
  await run(["BEGIN", ...tableSetLast, "COMMIT"]);
}

async function tableNames(pipeline: Pipeline): Promise<string[]> {
  const { rows } = await pipeline.client.query<{ name: string }>(
    "SELECT tablename AS name FROM pg_publication_tables WHERE pubname = 'p'",
  );
  return rows.map(({ name }) => name);
}

/** A copy whose log is a checkpoint of several files. */
async function withManyParts(source: string, path: string): Promise<string> {
  await cp(source, path, { recursive: true });
  const log = join(path, "_delta_log");
  const session = await DuckDbSession.open({
    memoryBytesMax: 256 * 1024 * 1024,
    temporaryPath: join(path, "..", "..", "spill"),
  });
  try {
    const table = await DeltaTable.open(path, session);
    await writeCheckpoint(path, table.snapshot, session, Date.now(), 5);
    for (const name of readdirSync(log)) if (/\.checkpoint\.parquet$/.test(name)) rmSync(join(log, name));
    const newest = `${String(table.snapshot.version).padStart(20, "0")}.json`;
    for (const name of readdirSync(log)) if (/^\d+\.json$/.test(name) && name !== newest) rmSync(join(log, name));
  } finally {
    await session.close();
  }
  return path;
}

/** What our reader finds in a table; its rows go into a file in `folder`. */
export async function expectedTable(path: string, folder: string): Promise<ExpectedTable> {
  const table = await openDelta(path);
  const name = path.slice(path.lastIndexOf("/") + 1);
  const linesPath = join(folder, `${encodeURIComponent(name)}.rows`);
  const file = createWriteStream(linesPath);
  let rows = 0;
  await eachLine(table, (line) => {
    rows++;
    file.write(`${line}\n`);
  });
  file.end();
  await once(file, "finish");
  const columns = table.columns.map(({ name, type }) => ({ name, type }));
  const vectors = table.files.filter(({ deleted }) => deleted > 0).length;
  return { name, path, vectors, columns, rows, linesPath };
}
