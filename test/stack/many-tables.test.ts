// Contract: a stack of 200 tables is previewed with few statements on the source, however many tables there are, and its
// state stays below 1 MB.
import { mkdtempSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import type pg from "pg";
import { afterAll, beforeAll, expect, it } from "vitest";
import { type OperationResult, Stack } from "../engine/engine";
import { startPostgres, type TestPostgres } from "../support/postgres-server";
import { endProcesses, errorsOf, slotNames } from "./ingestion-stack";

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

function open(tables: number): Stack {
  const args = {
    source: server.source(),
    tables: Array.from({ length: tables }, (_, index) => nameOf(index)),
    tableOptions: [{ table: nameOf(0), mode: "softDelete" }],
    destination: { kind: "local", path: join(folder, "lake") },
    stateDir: join(folder, "state"),
  };
  return new Stack({
    projectDir: join(process.cwd(), "test/stack/program"),
    stack: "many",
    stateFile: join(folder, "many.json"),
    config: { "sluice-test:args": JSON.stringify(args) },
    env: { PULUMI_NODEJS_TRANSPILE_ONLY: "true" },
  });
}

function ok(result: OperationResult): OperationResult {
  expect(errorsOf(result)).toBe("");
  expect(result.failed).toBe(false);
  return result;
}

/** Statements of the provider that the server has logged meanwhile. */
async function statements(work: () => Promise<unknown>): Promise<number> {
  const log = () => readFileSync(join(dirname(server.dataFolder), "server.log"), "utf8");
  const before = log().length;
  await work();
  const lines = log().slice(before).split("\n");
  return lines.filter((line) => /^sluice provider\|LOG: {2}(statement|execute)/.test(line)).length;
}

it("200 tables", async () => {
  const columns = Array.from({ length: 20 }, (_, index) => `column_${index} text`).join(", ");
  const all = Array.from({ length: 200 }, (_, index) => nameOf(index));
  await client.query(all.map((name) => `CREATE TABLE ${name} (id bigint PRIMARY KEY, ${columns})`).join("; "));
  const preview = (tables: number) => statements(async () => ok(await open(tables).preview()));
  const few = await preview(2);
  expect(few).toBeGreaterThan(5);
  expect(await preview(200)).toBe(few);
  ok(await open(200).up());
  expect(statSync(join(folder, "many.json")).size).toBeLessThan(1_000_000);
  expect(await preview(200)).toBeLessThanOrEqual(few);
  ok(await open(200).destroy());
  expect(await slotNames(client)).toEqual([]);
}, 240_000);
