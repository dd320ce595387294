// Records what a version stages and applies: node dist/test/lanes/record-staging.js NAME MAIN, at each release and wherever
// a form of staged documents has changed. MAIN is dist/runtime/main.js of that version's checkout. The fixture is
// test/fixtures/staging/NAME: its staging log, its Delta tables as they were half way, and the rows at the end, which
// test/runtime/staging/released-staging.test.ts holds the present applier to.
import { cpSync, mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { readLines } from "../support/golden-tables";
import { Pipeline } from "../support/pipeline";
import { startPostgres } from "../support/postgres-server";
import { upgradeChanges, upgradeSetup, upgradeTables } from "./upgrade-source";

async function main(): Promise<void> {
  const [name, mainPath] = process.argv.slice(2);
  if (name === undefined || mainPath === undefined) throw new Error("usage: record-staging NAME MAIN");
  const fixture = resolve("test/fixtures/staging", name);
  rmSync(fixture, { recursive: true, force: true });
  mkdirSync(fixture, { recursive: true });
  const postgres = await startPostgres();
  const pipeline = await Pipeline.open(postgres, upgradeSetup.join(";"));
  try {
    for (const one of [pipeline.gateway, pipeline.applier]) one.mainPath = resolve(mainPath);
    pipeline.start();
    await pipeline.settled();
    for (const sql of upgradeChanges(1)) await pipeline.client.query(sql);
    await pipeline.settled();
    await pipeline.applier.stop();
    cpSync(join(pipeline.folder, "lake", "public"), join(fixture, "lake", "public"), { recursive: true });
    for (const sql of upgradeChanges(2)) await pipeline.client.query(sql);
    pipeline.applier.start();
    await pipeline.settled();
    await pipeline.gateway.stop();
    await pipeline.applier.stop();
    cpSync(join(pipeline.folder, "staging"), join(fixture, "staging"), { recursive: true });
    rmSync(join(fixture, "staging", "progress", "test.json"));
    for (const table of upgradeTables) {
      const differences = await pipeline.differences(table);
      if (differences.length > 0) throw new Error(differences.join("\n"));
      const lines = await readLines(pipeline.lakePath({ name: table }));
      writeFileSync(join(fixture, `${table}.rows`), lines.join("\n"));
    }
    console.log(fixture);
  } finally {
    await pipeline.close();
    await postgres.stop();
  }
}

main().catch((error: unknown) => {
  console.error(error);
  process.exitCode = 1;
});
