import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import type { ColumnSchema, DeltaType } from "../../runtime/change/table-schema";
import { DeltaTable } from "../../runtime/destination/delta/delta-table";
import type { DuckDbSession } from "../../runtime/destination/duckdb-session";
import { liveRowsQuery } from "../../runtime/destination/live-rows";
import { WorkingTable } from "../../runtime/destination/working-table";
import { openDelta } from "./delta-reader";
import { eachLine } from "./equality";

const root = resolve(__dirname, "..", "..", ...(__dirname.includes("/dist/") ? [".."] : []));
/** Tables that Spark and delta-rs wrote (test/lanes/make-golden.ts). */
export const goldenFolder = join(root, "test", "fixtures", "delta");

/** Tables to read and go on with, and the rows that Spark finds in them, as sorted canonical text. */
export const goldenTables = readdirSync(goldenFolder)
  .filter((name) => existsSync(join(goldenFolder, `${name}.rows`)))
  .map((name) => ({ name, rows: readFileSync(join(goldenFolder, `${name}.rows`), "utf8").split("\n") }));

/** Rows of a table, or of some of its files, by the independent reader, as sorted canonical text. */
export async function readLines(path: string, ofFile?: (path: string) => boolean): Promise<string[]> {
  const table = await openDelta(path);
  const lines: string[] = [];
  await eachLine({ columns: table.columns, batches: () => table.batches(ofFile) }, (line) => lines.push(line));
  return lines.sort();
}

/**
 * Goes on with a table of others by what the applier commits with: the rows of its last file once more in a new one, then
 * those of its first file deleted but one, by deletion vector where the table has them, else by a file written anew.
 * @returns rows that the table must have now
 */
export async function continueTable(path: string, session: DuckDbSession): Promise<string[]> {
  const table = await DeltaTable.open(path, session);
  const known = await openDelta(path);
  const files = [...table.snapshot.files.keys()];
  const [first, last] = [files[0], files[files.length - 1]];
  const columns: ColumnSchema[] = known.columns.map(({ name, physicalName, type }, index) => {
    const deltaType = type as DeltaType;
    const unknown = { typeOid: 0, typeModifier: -1, typeName: type, keyOrdinal: null };
    return { attributeNumber: index + 1, name, physicalName, deltaType, ...unknown };
  });
  const expected = await readLines(path);
  expected.push(...(await readLines(path, (file) => file === last)));
  const working = await WorkingTable.open(table, session);
  const partitionNames = table.snapshot.metaData?.partitionColumns ?? [];
  working.setColumns(
    columns,
    partitionNames.map((name) => columns.find((column) => column.name === name) as ColumnSchema),
  );
  await working.insert(await liveRowsQuery(session, working, [files.length - 1], columns), columns);
  await working.load(0);
  const live = Array.from({ length: working.recordsOf(0) }, (_, row) => row).filter((row) => working.isLive(0, row));
  working.delete(0, Uint32Array.from(live.slice(1)));
  const firstLines: string[] = [];
  const ofFirst = { columns: known.columns, batches: () => known.batches((file) => file === first) };
  await eachLine(ofFirst, (line) => firstLines.push(line));
  for (const line of firstLines.slice(1)) expected.splice(expected.indexOf(line), 1);
  if (known.properties["delta.enableDeletionVectors"] !== "true") {
    await working.rewrite([0], await liveRowsQuery(session, working, [0], columns), columns);
  }
  const actions = await working.finish(Date.now());
  if (!(await table.commit([{ commitInfo: { operation: "MERGE" } }, ...actions]))) throw new Error("another was first");
  await working.dispose(true);
  await table.writeCheckpoint();
  return expected.sort();
}
