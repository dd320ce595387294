// Contract: a stack of 200 tables is previewed with few statements on the source, however many tables there are, and within
// 5 s more than one of 2 tables; its state stays below 1 MB.
import { mkdtempSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import type pg from "pg";
import { afterAll, beforeAll, expect } from "vitest";
import type { Deployer } from "../engine/deployer";
import { longTest } from "../support/long-test";
import { startPostgres, type TestPostgres } from "../support/postgres-server";
import { endProcesses, openIngestion, slotNames, statePath } from "./ingestion-stack";
import { ok } from "./operation-outcome";

let server: TestPostgres;
let client: pg.Client;
let folder: string;

beforeAll(async () => {
  server = await startPostgres({
    settings: { log_statement: "all", log_line_prefix: "%a|", max_locks_per_transaction: "256" },
  });
  client = await server.client();
  folder = mkdtempSync(join(tmpdir(), "sluice-many-"));
});

afterAll(async () => {
  if (folder !== undefined) await endProcesses(folder);
  await client?.end();
  await server?.stop();
  if (folder !== undefined) rmSync(folder, { recursive: true, force: true });
});

const nameOf = (index: number) => `public.order_position_${index}`;

const open = (tables: number): Promise<Deployer> =>
  openIngestion(folder, "many", {
    source: server.source(),
    tables: Array.from({ length: tables }, (_, index) => nameOf(index)),
    tableOptions: [{ table: nameOf(0), mode: "softDelete" }],
    destination: { kind: "local", path: join(folder, "lake") },
    stateDir: join(folder, "state"),
  });

/** Statements of the provider that the server has logged meanwhile, and how long it took. */
async function previewed(tables: number): Promise<{ statements: number; seconds: number }> {
  const log = () => readFileSync(join(dirname(server.dataFolder), "server.log"), "utf8");
  const stack = await open(tables);
  const before = log().length;
  const { seconds } = ok(await stack.preview());
  const lines = log().slice(before).split("\n");
  const statements = lines.filter((line) => /^sluice provider\|LOG: {2}(statement|execute)/.test(line)).length;
  return { statements, seconds };
}

longTest(
  "200 tables",
  async () => {
    const columns = Array.from({ length: 20 }, (_, index) => `column_${index} text`).join(", ");
    const all = Array.from({ length: 200 }, (_, index) => nameOf(index));
    await client.query(all.map((name) => `CREATE TABLE ${name} (id bigint PRIMARY KEY, ${columns})`).join("; "));
    const few = await previewed(2);
    expect(few.statements).toBeGreaterThan(5);
    const first = await previewed(200);
    expect(first.statements).toBe(few.statements);
    ok(await (await open(200)).up());
    expect(statSync(statePath(folder, "many")).size).toBeLessThan(1_000_000);
    const again = await previewed(200);
    expect(again.statements).toBeLessThanOrEqual(few.statements);
    // What a busy machine did to one of them is no property of ours.
    expect(Math.min(first.seconds, again.seconds) - few.seconds).toBeLessThan(5);
    ok(await (await open(200)).destroy());
    expect(await slotNames(client)).toEqual([]);
  },
  240_000,
);
