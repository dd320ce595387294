// A writer of the same Delta tables that knows nothing of ours: it merges files without a change of data, as OPTIMIZE
// does, sets properties, notes its own position, and writes checkpoints. Usage: rival-writer LAKE FOLDER SEED TABLE…
// It tells on stdout, a line each, what it has committed.
import { existsSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { DeltaTable } from "../../runtime/destination/delta/delta-table";
import { DuckDbSession } from "../../runtime/destination/duckdb-session";
import { compactTable } from "../../runtime/destination/table-compaction";
import { Random } from "../support/random";

const [lake, folder, seed, ...names] = process.argv.slice(2);
const random = new Random(Number(seed));
let commits = 0;

async function act(table: DeltaTable, session: DuckDbSession): Promise<boolean> {
  const { snapshot } = table;
  snapshot.newestOwn = null; // it isn't another's to carry on
  const commitInfo = { timestamp: Date.now(), engineInfo: "rival/1", operation: "SET TBLPROPERTIES" };
  switch (random.between(0, 6)) {
    case 0:
      return table.commit([{ commitInfo }, { txn: { appId: "rival", version: ++commits } }]);
    case 1: {
      if (snapshot.metaData === null) return false;
      const configuration = { ...snapshot.metaData.configuration, "rival.commits": String(++commits) };
      return table.commit([{ commitInfo }, { metaData: { ...snapshot.metaData, configuration } }]);
    }
    case 2:
      await table.writeCheckpoint();
      return false;
    default: {
      const all = [...snapshot.files.values()];
      if (all.length === 0) return false;
      const partition = JSON.stringify(random.choose(all).partitionValues);
      const files = all
        .filter(({ partitionValues }) => JSON.stringify(partitionValues) === partition && random.between(0, 3) > 0)
        .map(({ path }) => path);
      if (files.length === 0) return false;
      const step = { kind: "merge", files, reason: "small-files" } as const;
      return (await compactTable(table, step, { session, engineInfo: "rival/1", orderBy: [] })) !== null;
    }
  }
}

async function main(): Promise<void> {
  const temporaryPath = join(folder, "rival-spill");
  const session = await DuckDbSession.open({ memoryBytesMax: 128 * 1024 * 1024, temporaryPath, threads: 1 });
  for (;;) {
    const name = random.choose(names);
    const path = join(lake, "public", name);
    try {
      if (existsSync(join(path, "_delta_log"))) {
        const table = await DeltaTable.open(path, session);
        if (table.exists && (await act(table, session))) process.stdout.write(`${name}\n`);
      }
    } catch {
      // A table in the making, or of which a checkpoint has just gone.
    }
    // A writer that never rests would be first for ever where a batch takes long.
    await pause(random.between(0, 250));
  }
}

main().catch((error: unknown) => {
  process.stderr.write(`${error}\n`);
  process.exit(1);
});
