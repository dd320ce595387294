// Contract: whenever the provider's process is killed with -9, or its connections are cut, between two statements of a
// create, an update or a delete of publication and slot, the next `up` finishes what was begun, with one publication and one
// slot, and a destroy leaves nothing. What nothing was recorded of, as the process ended before it answered, the next `up`
// takes over. The statements that make and remove things, always; all of them, killed and cut in turns, with SLUICE_TEST_KILLS=all.
// Invariant 5: after delete no slot and no publication of ours remains, nor what they changed.
import { spawn } from "node:child_process";
import { join } from "node:path";
import type pg from "pg";
import { afterAll, beforeAll, expect, it } from "vitest";
import type { Properties } from "../../../provider/lifecycle/lifecycle";
import type { Operation, RecordedState } from "../../support/lifecycle-process";
import { startPostgres, type TestPostgres } from "../../support/postgres-server";
import { type StatementProxy, type Step, startStatementProxy } from "../../support/statement-proxy";

const isWhole = process.env.SLUICE_TEST_KILLS === "all";

let server: TestPostgres;
let client: pg.Client;
let proxy: StatementProxy;
let version: number;

beforeAll(async () => {
  server = await startPostgres({ settings: { max_replication_slots: "2" } });
  client = await server.client();
  await client.query("CREATE TABLE t (id int PRIMARY KEY, n int); CREATE TABLE bare (n int)");
  version = Number((await client.query("SHOW server_version_num")).rows[0].server_version_num);
  proxy = await startStatementProxy(server);
});

afterAll(async () => {
  await proxy?.close();
  await client?.end();
  await server?.stop();
});

/** The program, first and as it is changed later. */
function program(isLater: boolean): Pick<Operation, "publication" | "slot"> {
  const source: Properties = { ...server.source(), port: proxy.port };
  const filtered = { table: "public.t", ...(version >= 150_000 ? { where: "n > 1" } : {}) };
  const tables = isLater ? [filtered, "public.bare"] : ["public.t"];
  return {
    publication: { source, tables, captureDdl: isLater, origin: "test/cuts/shop" },
    slot: { source, failover: isLater && version >= 170_000, onDelete: "drop" },
  };
}

interface Outcome {
  state: RecordedState;
  error: string | null;
}

/** Runs an operation in a process of its own, which is killed, or whose connections are cut, after a statement. */
function run(
  operation: Pick<Operation, "kind" | "state"> & { isLater: boolean },
  cut?: { after: number; how: "kill" | "cut" },
): Promise<Outcome> {
  const child = spawn(process.execPath, [join(process.cwd(), "dist/test/support/lifecycle-process.js")], {
    stdio: ["pipe", "pipe", "pipe"],
  });
  proxy.watch(cut?.after, () => cut?.how === "kill" && child.kill("SIGKILL"));
  let output = "";
  let errors = "";
  child.stdout.on("data", (chunk: Buffer) => {
    output += chunk.toString();
  });
  child.stderr.on("data", (chunk: Buffer) => {
    errors += chunk.toString();
  });
  child.stdin.on("error", () => {});
  child.stdin.end(JSON.stringify({ ...program(operation.isLater), kind: operation.kind, state: operation.state }));
  return new Promise((resolve) => {
    child.on("close", (code) => {
      const lines = output.trim() === "" ? [] : output.trim().split("\n");
      const outcome: Outcome = { state: operation.state, error: code === 0 ? null : `ended: ${code} ${errors}` };
      for (const line of lines) Object.assign(outcome, JSON.parse(line) as Partial<Outcome>);
      resolve(outcome);
    });
  });
}

async function done(kind: Operation["kind"], isLater: boolean, state: RecordedState): Promise<RecordedState> {
  const outcome = await run({ kind, isLater, state });
  expect(outcome.error).toBeNull();
  return outcome.state;
}

const column = async (sql: string) => (await client.query<{ it: string }>(sql)).rows.map(({ it }) => it);

/** All that a publication and a slot of ours make or change. */
const found = async () => ({
  publications: await column("SELECT pubname AS it FROM pg_publication"),
  slots: await column("SELECT slot_name AS it FROM pg_replication_slots"),
  identities: await column(
    "SELECT relname || ' ' || relreplident::text AS it FROM pg_class WHERE relname IN ('t', 'bare') ORDER BY 1",
  ),
  triggers: await column("SELECT evtname AS it FROM pg_event_trigger"),
  schemas: await column("SELECT nspname AS it FROM pg_namespace WHERE nspname !~ '^(pg_|information_schema|public)'"),
});

const nothing = { publications: [], slots: [], identities: ["bare d", "t d"], triggers: [], schemas: [] };

/** What each operation begins with, and what is wanted after it. */
const operations = {
  create: { before: [], kind: "up", isLater: false },
  update: { before: [false], kind: "up", isLater: true },
  delete: { before: [false, true], kind: "destroy", isLater: true },
} as const;

async function begin(before: readonly boolean[]): Promise<RecordedState> {
  let state: RecordedState = {};
  for (const isLater of before) state = await done("up", isLater, state);
  return state;
}

async function expectWhole(state: RecordedState): Promise<void> {
  const { publications, slots } = await found();
  expect({ publications, slots }).toEqual({ publications: [state.publication?.id], slots: [state.slot?.id] });
}

/** A statement that makes, changes or removes something that outlives its session. */
const isEffective = ({ text }: Step) =>
  /^COMMIT|pg_create_logical_replication_slot|^ALTER_REPLICATION_SLOT|^SELECT pg_drop_replication_slot/.test(text);

/** Each statement in one way, in turns, and in both what makes or removes something. */
function waysOf(step: Step, index: number): readonly ("kill" | "cut")[] {
  if (!isWhole) return ["kill"];
  if (isEffective(step)) return ["kill", "cut"];
  return [Math.floor(index / 2) % 2 === 0 ? "kill" : "cut"];
}

it.each(Object.entries(operations))(
  "%s",
  async (_name, { before, kind, isLater }) => {
    const whole = await done(kind, isLater, await begin(before));
    const { steps } = proxy;
    if (kind === "up") await done("destroy", isLater, whole);
    expect(await found()).toEqual(nothing);
    const chosen = isWhole ? steps : steps.filter(isEffective);
    // Before PostgreSQL 17 an update is one transaction: no slot's failover is changed.
    expect(chosen.length).toBeGreaterThan(kind === "up" && isLater && version < 170_000 ? 0 : 1);
    for (const [index, step] of chosen.entries()) {
      const { number, text } = step;
      for (const how of waysOf(step, index)) {
        const what = `${how} after ${number} of ${steps.length}: ${text.slice(0, 100)}`;
        const cut = await run({ kind, isLater, state: await begin(before) }, { after: number, how });
        if (how === "kill") expect(cut.error, what).not.toBeNull();
        let left = cut.state;
        try {
          if (index % 2 === 0) {
            // What a destroy has removed is missing to an update only once a refresh has found it gone.
            if (kind === "destroy") left = await done("refresh", isLater, left);
            left = await done("up", isLater, left);
            await expectWhole(left);
          }
          left = await done("destroy", isLater, left);
          // A destroy can't know of what was made without being recorded; it is left to the stack's next update.
          if (left.publication === undefined && cut.state.publication === undefined && kind === "up") {
            left = await done("destroy", isLater, await done("up", isLater, left));
          }
          expect(await found()).toEqual(nothing);
        } catch (error) {
          throw new Error(`${what}: ${(error as Error).message}`, { cause: error });
        }
      }
    }
  },
  isWhole ? 1_800_000 : 240_000,
);
