// Contract: a publication is made and dropped, and identities are set and put back, under transactions of the source that
// lock its tables in any order: none of those is ended by a deadlock with ours, or waits for us while we wait.
// Invariants 5 (after delete nothing of ours remains) and the source's own work goes on.
import { setTimeout as pause } from "node:timers/promises";
import type pg from "pg";
import { afterAll, beforeAll, expect, it, vi } from "vitest";
import { publication } from "../../../provider/lifecycle/publication";
import { startPostgres, type TestPostgres } from "../../support/postgres-server";

let server: TestPostgres;
let client: pg.Client;

beforeAll(async () => {
  vi.spyOn(console, "log").mockImplementation(() => {});
  server = await startPostgres();
  client = await server.client();
  await client.query("CREATE TABLE public.a (n int); CREATE TABLE public.b (n int)");
});

afterAll(async () => {
  vi.restoreAllMocks();
  await client?.end();
  await server?.stop();
});

async function identities(): Promise<string> {
  const { rows } = await client.query<{ all: string }>(
    "SELECT string_agg(relreplident::text, '' ORDER BY relname) AS all FROM pg_class WHERE relname IN ('a', 'b')",
  );
  return rows[0].all;
}

async function create() {
  const { inputs, failures } = await publication.check(
    {},
    { source: server.source(), tables: ["public.a", "public.b"] },
  );
  expect(failures).toEqual([]);
  return publication.create(inputs);
}

it("no transaction of the source is ended by a deadlock with ours", async () => {
  let stopped = false;
  let commits = 0;
  const errors: unknown[] = [];
  // Each holds one table for a while and then wants the other, so that whoever holds that one and waits makes a deadlock.
  const write = async (first: string, second: string, holdMs: number) => {
    const own = await server.client();
    try {
      while (!stopped) {
        await own.query(`BEGIN; INSERT INTO ${first} VALUES (1)`);
        await pause(holdMs);
        await own.query(`INSERT INTO ${second} VALUES (1); COMMIT`);
        commits++;
        await pause(100);
      }
    } catch (error) {
      errors.push(error);
    } finally {
      await own.end();
    }
  };
  const writers = Promise.all([write("a", "b", 150), write("b", "a", 250)]);
  for (let turn = 0; turn < 3; turn++) {
    const { id, outs } = await create();
    expect(await identities()).toBe("ff");
    await publication.delete(id, outs);
    expect(await identities()).toBe("dd");
  }
  stopped = true;
  await writers;
  expect(errors).toEqual([]);
  expect(commits).toBeGreaterThan(5);
});

it("a lock that is held for longer is waited for, and lets others in meanwhile", async () => {
  const [holder, other] = [await server.client(), await server.client()];
  try {
    await holder.query("BEGIN; LOCK TABLE a IN ROW EXCLUSIVE MODE");
    const creating = create();
    const waiting = (async () => {
      let longestMs = 0;
      for (const endsMs = Date.now() + 2_000; Date.now() < endsMs; await pause(20)) {
        const startedMs = Date.now();
        await other.query("SELECT count(*) FROM a");
        longestMs = Math.max(longestMs, Date.now() - startedMs);
      }
      return longestMs;
    })();
    // The holder ends after two seconds; a reader behind one that waits as long as it has to would wait until then.
    expect(await waiting).toBeLessThan(1_500);
    await holder.query("COMMIT");
    const { id, outs } = await creating;
    expect(await identities()).toBe("ff");
    await publication.delete(id, outs);
    expect(await identities()).toBe("dd");
  } finally {
    await Promise.all([holder.end(), other.end()]);
  }
});
