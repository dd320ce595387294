// Writes test/fixtures/delta anew: tables by Spark and delta-rs, with the rows that Spark reads in them.
// Usage: make-golden SPARK_PYTHON READERS_PYTHON FOLDER [NAME...]; FOLDER keeps Spark's jars; NAME: those tables alone.
import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { sparkTables } from "./golden-sources";
import { SparkSession } from "./spark-session";

const root = resolve(__dirname, "..", "..", "..");
const fixtures = join(root, "test", "fixtures", "delta");

async function make([sparkPython, readersPython, folder, ...names]: string[]): Promise<void> {
  const isWanted = (name: string) => names.length === 0 || names.includes(name);
  for (const name of existsSync(fixtures) ? readdirSync(fixtures) : []) {
    if (isWanted(name.replace(/\.rows$/, ""))) rmSync(join(fixtures, name), { recursive: true });
  }
  mkdirSync(fixtures, { recursive: true });
  const script = join(root, "test", "lanes", "golden_delta_rs.py");
  execFileSync(readersPython, [script, fixtures, ...names], { stdio: "inherit" });
  const spark = await SparkSession.start(sparkPython, folder);
  const made = sparkTables.filter(({ name }) => isWanted(name));
  for (const { name, statements } of made) {
    const place = `delta.\`${join(fixtures, name)}\``;
    for (const statement of statements) await spark.sql(statement.replaceAll("{}", place));
    console.log(name);
  }
  const refused = new Set(sparkTables.flatMap((table) => (table.refused === undefined ? [] : [table.name])));
  for (const name of readdirSync(fixtures)) {
    if (name.endsWith(".rows") || !isWanted(name) || refused.has(name)) continue;
    writeFileSync(join(fixtures, `${name}.rows`), (await spark.lines(join(fixtures, name))).sort().join("\n"));
  }
  await spark.close();
  for (const { name } of made) trim(join(fixtures, name), refused.has(name));
}

/** Small: without checksums, without what the newest checkpoint makes needless, and of refused tables the log alone. */
function trim(path: string, isRefused: boolean): void {
  const names = readdirSync(path, { recursive: true, encoding: "utf8" });
  const base = Math.max(0, ...names.map((name) => Number(/(\d{20})\.checkpoint\.parquet$/.exec(name)?.[1] ?? 0)));
  for (const name of names) {
    const version = Number(/^_delta_log\/(\d{20})\./.exec(name)?.[1] ?? base);
    if (/\.crc$/.test(name) || version < base || (isRefused && /\.(bin|parquet)$/.test(name))) rmSync(join(path, name));
  }
}

make(process.argv.slice(2)).then(
  () => process.exit(0),
  (error: unknown) => {
    console.error(error);
    process.exit(1);
  },
);
