// Contract: a column whose type changes in a way that no schema event follows is copied again. A table that keeps history
// goes on with it where the new type holds the old values, or their text. Where it doesn't, the table waits alone, told
// with column and both types, and begins anew once somebody accepts that, or by its option (invariants 3 and 4).
import { execFileSync } from "node:child_process";
import { join, resolve } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import type { ApplierStatus } from "../../runtime/status";
import { openDelta } from "../support/delta-reader";
import { Pipeline } from "../support/pipeline";
import { startPostgres, type TestPostgres } from "../support/postgres-server";

let postgres: TestPostgres;
let pipeline: Pipeline;
const modes = { soft: "softDelete", history: "append", versions: "scd2", eager: "scd2" } as const;
const tables = Object.keys(modes);
const stateOf = (status: ApplierStatus | null, name: string) =>
  status?.tables.find((table) => table.name === name)?.state;

beforeAll(async () => {
  postgres = await startPostgres();
  const columns = "id int PRIMARY KEY, value text, number int, numbers int[]";
  const rows = "SELECT i, 'a' || i, i * 10, ARRAY[i, NULL] FROM generate_series(1, 3) i";
  pipeline = await Pipeline.open(
    postgres,
    [...tables, "other"].map((name) => `CREATE TABLE ${name} (${columns}); INSERT INTO ${name} ${rows}`).join(";"),
    { types: { arrays: "nested" } },
  );
  (pipeline.applier.config as { tables?: object[] }).tables = tables.map((name) => ({
    ...{ schema: "public", name, mode: modes[name as keyof typeof modes], changeDataFeed: true },
    ...(name === "eager" ? { onChange: "refresh" } : {}),
  }));
  await pipeline.start().settled();
});
afterAll(async () => {
  await pipeline.close();
  await postgres.stop();
});

/** Rows of a destination as texts, in order. */
async function rowsOf(name: string, columns: string[]): Promise<string[]> {
  const delta = await openDelta(pipeline.lakePath({ name }));
  const indexes = columns.map((column) => delta.columns.findIndex((each) => each.name === column));
  const rows: string[] = [];
  for await (const { columns: values, count } of delta.batches()) {
    for (let row = 0; row < count; row++) rows.push(indexes.map((index) => String(values[index][row])).join(" "));
  }
  return rows.sort();
}

const typesOf = async (name: string) =>
  Object.fromEntries((await openDelta(pipeline.lakePath({ name }))).columns.map(({ name, type }) => [name, type]));

async function everywhere(sql: (table: string) => string): Promise<void> {
  for (const table of [...tables, "other"]) await pipeline.client.query(sql(table));
}

const isCopied = (snapshots: number) =>
  pipeline.gateway.untilStatus("all are copied again", (status) =>
    status.tables.every((table) => table.state.kind === "streaming" && table.snapshots === snapshots),
  );

it("keeps the history where the new type holds it", { timeout: 60_000 }, async () => {
  await everywhere((table) => `UPDATE ${table} SET number = 11 WHERE id = 1; DELETE FROM ${table} WHERE id = 2`);
  await pipeline.settled();
  await everywhere((table) => `ALTER TABLE ${table} ALTER number TYPE text, ALTER numbers TYPE bigint[]`);
  await everywhere((table) => `UPDATE ${table} SET numbers = '{30000000000}' WHERE id = 3`);
  await isCopied(2);
  await pipeline.settled();
  for (const name of tables)
    expect(await typesOf(name), name).toMatchObject({ number: "string", numbers: "array<long>" });
  const versions = ["1 10 1, false", "1 11 1, true", "2 20 2, false"];
  const last = "3 30 30000000000 true";
  for (const name of ["versions", "eager"]) {
    const rows = await rowsOf(name, ["id", "number", "numbers", "is_current"]);
    // The snapshot may see the last update already.
    expect(rows.filter((row) => row !== "3 30 3, false")).toEqual([...versions, last]);
  }
  expect((await rowsOf("soft", ["id", "number", "numbers"])).at(1)).toBe("2 20 2,");
  const history = await rowsOf("history", ["_op", "id", "number"]);
  expect(history).toEqual(expect.arrayContaining(["snapshot 1 10", "snapshot 2 20", "update 1 11", "delete 2 null"]));
  expect(history.filter((row) => row.startsWith("snapshot"))).toHaveLength(5);
  expect(await pipeline.differences("other")).toEqual([]);
});

it("else waits with column and types until its loss is accepted", { timeout: 60_000 }, async () => {
  const { applier } = pipeline;
  const waiting = tables.filter((name) => name !== "eager");
  await everywhere((table) => `UPDATE ${table} SET value = 'b' WHERE id = 1`);
  await everywhere((table) => `ALTER TABLE ${table} ALTER value TYPE int USING length(value)`);
  await everywhere((table) => `INSERT INTO ${table} VALUES (4, 44)`);
  await isCopied(3);
  const isWaiting = (status: ApplierStatus) =>
    waiting.every((name) => stateOf(status, name)?.kind === "quarantined") && stateOf(status, "eager")?.kind === "idle";
  await applier.untilStatus("tables with history wait", isWaiting);
  await applier.kill();
  applier.start();
  const told = await applier.untilStatus("they wait after a start too", isWaiting);
  for (const name of waiting) {
    expect(stateOf(told, name), name).toMatchObject({
      errorKind: "unsupported",
      message: expect.stringContaining(`public.${name}: column value changed from string to integer`),
      remedy: expect.stringContaining(`--table public.${name} --accept-history-loss`),
    });
    // What the destination has stays as it was.
    expect(await typesOf(name), name).toMatchObject({ value: "string" });
  }
  await applier.untilStatus("the others go on", ({ tables: all }) =>
    all.some(
      ({ name, rows, appliedSequence }) => name === "other" && rows === 3 && appliedSequence === told.stagedSequence,
    ),
  );
  expect(await pipeline.differences("other")).toEqual([]);

  const main = resolve(__dirname, "../../dist/runtime/main.js");
  const config = join(pipeline.folder, "applier.json");
  for (const name of waiting) {
    const asked = ["resync", "--config", config, "--table", `public.${name}`, "--accept-history-loss"];
    execFileSync(process.execPath, [main, ...asked], { stdio: "pipe" });
  }
  await applier.untilStatus("all go on", ({ tables: all }) => all.every(({ state }) => state.kind === "idle"));
  await everywhere((table) => `DELETE FROM ${table} WHERE id = 4; INSERT INTO ${table} VALUES (5, 55)`);
  await pipeline.settled();
  const current: Record<string, [string[], string[]]> = {
    soft: [
      ["id", "value"],
      ["1 1", "3 2", "4 44", "5 55"],
    ],
    versions: [
      ["id", "value", "is_current"],
      ["1 1 true", "3 2 true", "4 44 false", "5 55 true"],
    ],
  };
  for (const [name, [columns, rows]] of Object.entries(current))
    expect(await rowsOf(name, columns), name).toEqual(rows);
  expect(await rowsOf("eager", current.versions[0])).toEqual(current.versions[1]);
  expect(await rowsOf("history", ["_op", "id", "value"])).toEqual(
    expect.arrayContaining(["snapshot 1 1", "snapshot 3 2", "delete 4 null", "insert 5 55"]),
  );
  for (const name of tables) expect(await typesOf(name), name).toMatchObject({ value: "integer", number: "string" });
});
