// Makes a Delta table with deletion vectors by the real applier, for engines that we didn't write to read.
// Usage: make-delta-table FOLDER; prints JSON: where it is and what a reader must find in it.
import { spawnSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { stageTable } from "../bench/staged-updates";

const rows = 100_000;

async function make(folder: string): Promise<void> {
  const staged = await stageTable(join(folder, "staging"), rows);
  const configPath = join(folder, "applier.json");
  const config = {
    version: 1,
    role: "applier",
    id: "lane",
    statusPath: join(folder, "status.json"),
    stagingPath: join(folder, "staging"),
    destination: { kind: "local", path: join(folder, "lake") },
    trigger: { kind: "once" },
  };
  writeFileSync(configPath, JSON.stringify(config));
  const apply = () => {
    const main = resolve(__dirname, "..", "..", "runtime", "main.js");
    const { status, stderr } = spawnSync(process.execPath, [main, "applier", "--config", configPath]);
    if (status !== 0) throw new Error(`applier: ${stderr}`);
  };
  apply();
  const changed = await staged.changes(5_000);
  apply();
  staged.close();
  process.stdout.write(`${JSON.stringify({ path: join(folder, "lake", "public", "big"), rows, changed })}\n`);
}

make(process.argv[2]).then(
  () => process.exit(0),
  (error: unknown) => {
    process.stderr.write(`${error}\n`);
    process.exit(1);
  },
);
