// Contract: a value that its Delta type can't hold is NULL and counted, or stops its table alone, as the options say; in a
// key it always stops it. A stopped table loses nothing: what is dropped is never passed over by a restart, and the next
// snapshot holds it (invariants 1, 3 and 4).
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { readDeltaRows } from "../../support/delta-reader";
import { Pipeline } from "../../support/pipeline";
import { startPostgres, type TestPostgres } from "../../support/postgres-server";

let postgres: TestPostgres;
let pipeline: Pipeline;

beforeAll(async () => {
  postgres = await startPostgres();
});
afterAll(async () => {
  await postgres?.stop();
});
beforeEach(() => async () => pipeline?.close());

const tables = `
  CREATE TABLE event (id int PRIMARY KEY, at timestamptz, amount numeric);
  CREATE TABLE other (id int PRIMARY KEY, at timestamptz);
  INSERT INTO event SELECT n, '2024-01-01', n FROM generate_series(1, 10) n;
  INSERT INTO other SELECT n, '2024-01-01' FROM generate_series(1, 10) n;`;

const messageOf = (name: string): string => {
  const { state } = pipeline.table(name);
  return state.kind === "failed" ? `${state.message} | ${state.remedy}` : state.kind;
};
const failed = (name: string) =>
  pipeline.gateway.untilStatus(`${name} stops`, ({ tables: known }) =>
    known.some((table) => table.name === name && table.state.kind === "failed"),
  );

describe("a value that can't be held", () => {
  it("is NULL and counted by default, by copy and by stream", async () => {
    pipeline = await Pipeline.open(postgres, `${tables} UPDATE event SET amount = 'NaN' WHERE id = 1`);
    await pipeline.start().settled();
    await pipeline.client.query("UPDATE event SET at = 'infinity' WHERE id = 2");
    const status = await pipeline.settled();
    expect(status.tables.find(({ name }) => name === "event")?.unrepresentable).toEqual({ amount: 1, at: 1 });
    expect(await pipeline.differences("event")).toEqual([]);
  });

  it("stops its table in the stream, at the end of a transaction; the others go on; nothing is lost", async () => {
    pipeline = await Pipeline.open(postgres, tables, { types: { unrepresentable: "stop" }, batch: { ageMsMax: 500 } });
    await pipeline.start().settled();
    await pipeline.client.query(`BEGIN;
      UPDATE event SET amount = 100 WHERE id = 3;
      UPDATE event SET at = '10000-01-01' WHERE id = 2;
      COMMIT;`);
    await failed("event");
    expect(messageOf("event")).toBe(
      "public.event: column at (timestamp with time zone) holds 10000-01-01 00:00:00, which timestamp can't, in the row id = 2" +
        ' | Correct the value at the source, or set types.unrepresentable to "null" to carry it as NULL. The table is then copied again.',
    );
    await pipeline.settled();

    // All of it is acknowledged; a gateway killed now must not go on behind what it dropped.
    await pipeline.gateway.kill();
    pipeline.gateway.start();
    await failed("event");
    await pipeline.client.query("INSERT INTO event VALUES (11, NULL, 1); UPDATE other SET at = NULL WHERE id = 2");
    await pipeline.settled();
    expect(await pipeline.differences("other")).toEqual([]);
    const kept = await readDeltaRows(pipeline.lakePath({ name: "event" }));
    expect(kept.map((row) => Number(row.amount)).sort((a, b) => a - b)).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
    expect(pipeline.gateway.output).not.toContain("10000-01-01");

    await pipeline.gateway.kill();
    await pipeline.client.query("UPDATE event SET at = NULL WHERE id = 2");
    pipeline.gateway.start();
    const status = await pipeline.settled();
    expect(status.tables.map(({ state }) => state.kind)).toEqual(["streaming", "streaming"]);
    expect(await pipeline.differences("event")).toEqual([]);
  });

  it("stops its table in a snapshot, and in a key whatever the option says", async () => {
    pipeline = await Pipeline.open(
      postgres,
      `${tables} CREATE TABLE keyed (code int, at timestamp, PRIMARY KEY (code, at));
       INSERT INTO keyed VALUES (1, 'infinity'), (1, '-infinity')`,
    );
    await pipeline.start().settled();
    expect(messageOf("keyed")).toMatch(
      /^public\.keyed: column at \(timestamp without time zone\) holds infinity, which timestamp_ntz can't, in the row code = 1, at = infinity \| Correct .* leave the table out/,
    );
    expect(await pipeline.differences("event")).toEqual([]);
    await pipeline.gateway.kill();
    await pipeline.client.query("DELETE FROM keyed WHERE at = '-infinity'; UPDATE keyed SET at = '2024-01-01'");
    pipeline.gateway.start();
    await pipeline.settled();
    expect(await pipeline.differences("keyed")).toEqual([]);
    expect(pipeline.gateway.status()?.tables.map(({ name, snapshots }) => [name, snapshots])).toEqual(
      expect.arrayContaining([["event", 1]]),
    );
  });
});

describe("an option of types", () => {
  it("that changes copies the tables concerned again, and no other", async () => {
    pipeline = await Pipeline.open(
      postgres,
      `CREATE TABLE free (id int PRIMARY KEY, amount numeric); CREATE TABLE fixed (id int PRIMARY KEY, name text);
       INSERT INTO free VALUES (1, 'NaN'), (2, 1.50), (3, 1e-30); INSERT INTO fixed VALUES (1, 'a')`,
    );
    await pipeline.start().settled();
    expect(pipeline.table("free").unrepresentable).toEqual({ amount: 2 });
    expect(await pipeline.gateway.stop()).toEqual({ code: 0, signal: null });
    (pipeline.gateway.config as { types?: object }).types = { unconstrainedNumeric: "string" };
    pipeline.gateway.start();
    await pipeline.settled();
    expect([pipeline.table("free").snapshots, pipeline.table("fixed").snapshots]).toEqual([2, 1]);
    await pipeline.client.query("UPDATE free SET amount = 'Infinity' WHERE id = 2; INSERT INTO free VALUES (4, 10.00)");
    await pipeline.settled();
    const rows = await readDeltaRows(pipeline.lakePath({ name: "free" }));
    expect(rows.map((row) => `${row.id} ${row.amount}`).sort()).toEqual([
      "1 NaN",
      "2 Infinity",
      `3 0.${"0".repeat(29)}1`,
      "4 10.00",
    ]);
  });
});
