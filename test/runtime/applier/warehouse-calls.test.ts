// Contract: through Databricks' own client, over TLS and its protocol, each staged commit has its effect exactly once, in order,
// whatever becomes of calls, sessions, statements, tokens and the warehouse itself (invariant 3). The engine behind keeps
// Delta's history and its conflicts; the same faults meet real rows in the Spark lane (test/lanes/spark-warehouse.ts, part lost).
import { afterAll, beforeAll, expect, it } from "vitest";
import { openSqlSession, type SqlSessionOptions } from "../../../runtime/destination/databricks/sql-session";
import { sqlType } from "../../../runtime/destination/databricks/sql-text";
import { targetColumns, targetTable } from "../../../runtime/destination/target-table";
import { defaultTableOptions } from "../../../runtime/table-options";
import { until } from "../../support/conditions";
import { RecordedService } from "../../support/recorded-service";
import { RecordedWarehouse } from "../../support/recorded-warehouse";
import { applyToWarehouse } from "../../support/warehouse-applier";
import { type Fault, type WarehouseCall, WarehouseFront } from "../../support/warehouse-front";
import { StagedLog, tableSchema } from "./staged-log";

const schema = tableSchema("1", "t1", { id: "long*", name: "string" });
const tables = [{ ...defaultTableOptions, schema: "public", name: "t1", mode: "append" as const }];
const columns = targetColumns(targetTable(schema, tables[0])).map(({ name, deltaType }) => [name, sqlType(deltaType)]);
const isMerge = ({ statement }: WarehouseCall) =>
  statement?.startsWith("MERGE INTO") === true && statement.includes("`t1`");
const isPoll = ({ name }: WarehouseCall) => name === "GetOperationStatus";
const starting: Fault = {
  status: 503,
  headers: { "retry-after": "0", "x-thriftserver-error-message": "TEMPORARILY_UNAVAILABLE: Cluster 1 is starting" },
};

/** A fault for the first calls of a kind. */
function first(count: number, isMeant: (call: WarehouseCall) => boolean, fault: Fault): WarehouseFront["fault"] {
  let left = count;
  return (call) => (isMeant(call) && left-- > 0 ? fault : "none");
}

/** A staged log of a table, the warehouse that has its snapshot, and the way there. */
class Bench {
  readonly engine = new RecordedWarehouse(Object.fromEntries(columns));
  readonly service = new RecordedService(this.engine);
  readonly waits: string[] = [];
  tokens: SqlSessionOptions["tokens"] = { token: async () => "first", refuse: () => {} };

  private constructor(
    readonly log: StagedLog,
    public front: WarehouseFront,
  ) {}

  static async open(): Promise<Bench> {
    const bench = new Bench(await StagedLog.open(), null as never);
    bench.front = await WarehouseFront.start(bench.service.serve, "first");
    await bench.log.snapshot(schema, [{ id: "1", name: "'a'" }]);
    await bench.apply();
    return bench;
  }

  async stage(records = 1): Promise<void> {
    for (let record = 0; record < records; record++) {
      await this.log.changes(schema, [{ op: 1, row: { id: "1", name: "'b'" } }]);
      await this.log.commit();
    }
  }

  /** One process that applies what is staged. `batchBytesMax` 1: a statement for each record */
  apply(options: Partial<SqlSessionOptions> = {}, batchBytesMax = 64 * 1024 * 1024): Promise<void> {
    return applyToWarehouse(this.log, () => this.session(options), { tables, schema: "lake", batchBytesMax });
  }

  session(options: Partial<SqlSessionOptions> = {}) {
    const { port, caCert } = this.front;
    return openSqlSession(
      { host: "localhost", port, path: "/sql/1.0/warehouses/1", caCert },
      {
        tokens: this.tokens,
        statementTimeoutMs: 30_000,
        startTimeoutMs: 30_000,
        waitMs: { min: 5, max: 50 },
        settings: ["SET TIME ZONE 'UTC'"],
        signal: new AbortController().signal,
        onWait: (reason) => this.waits.push(reason),
        ...options,
      },
    );
  }

  /** Each staged commit behind the snapshot once, and in order. */
  get applied(): number[] {
    return this.engine
      .effects("`t1`")
      .flatMap(([from, to]) => Array.from({ length: to - from + 1 }, (_, at) => from + at));
  }

  get staged(): number[] {
    return Array.from({ length: this.log.head - 1 }, (_, at) => at + 2);
  }

  async close(): Promise<void> {
    await this.front.close();
    this.log.close();
  }
}

const benches: Bench[] = [];
const open = async () => {
  const bench = await Bench.open();
  benches.push(bench);
  return bench;
};

beforeAll(() => import("@databricks/sql"));
afterAll(async () => {
  for (const bench of benches) await bench.close();
});

it.concurrent.each<[string, (call: WarehouseCall) => boolean, Fault, number]>([
  ["the answer to a statement is lost", isMerge, "lose-answer", 1],
  ["a statement is lost", isMerge, "lose-call", 1],
  ["questions about a running statement are lost", isPoll, "lose-call", 4],
  ["answers about a running statement are lost", isPoll, "lose-answer", 4],
  ["nothing is heard of a running statement for long", isPoll, "lose-call", 50],
  ["a result is lost", ({ name }) => name === "FetchResults", "lose-answer", 1],
  ["a proxy answers for the warehouse behind a statement's effect", isMerge, { status: 503, isBehind: true }, 1],
  ["the warehouse stops: it asks to come again", isMerge, starting, 6],
  ["the warehouse has no room: 429", isMerge, { status: 429, headers: { "retry-after": "0" } }, 6],
  ["the warehouse has forgotten the session", isMerge, { refusal: "Invalid SessionHandle: SessionHandle [1]" }, 1],
  ["the way to the warehouse knows it no more", isMerge, { status: 404 }, 1],
])("exactly once when %s", async (_, isMeant, fault, count) => {
  const bench = await open();
  bench.front.fault = first(count, isMeant, fault);
  await bench.stage(2);
  await bench.apply({}, 1);
  expect(bench.applied).toEqual(bench.staged);
});

it.concurrent("a warehouse that starts is waited for, also where it takes sessions that it then doesn't know", async () => {
  const bench = await open();
  let [refused, forgotten] = [3, 3];
  bench.front.fault = ({ name }) => {
    if (name === "OpenSession" && refused-- > 0) return starting;
    if (name !== "ExecuteStatement" || forgotten-- <= 0) return "none";
    return {
      refusal: "requirement failed: Session handle: SessionHandle [1] has not been initialized or had already closed.",
    };
  };
  await bench.stage();
  await bench.apply();
  expect(bench.applied).toEqual(bench.staged);
  expect(bench.waits).toHaveLength(6);
  expect(bench.waits[0]).toContain("TEMPORARILY_UNAVAILABLE: Cluster 1 is starting");
});

it.concurrent("one that doesn't start in time is told as such, and nothing is done", async () => {
  const bench = await open();
  bench.front.fault = ({ name }) => (name === "OpenSession" ? starting : "none");
  await expect(bench.session({ startTimeoutMs: 200 })).rejects.toMatchObject({
    kind: "unreachable",
    message: expect.stringContaining("Cluster 1 is starting"),
  });
});

it.concurrent("a statement that takes too long is cancelled, and its changes come once", async () => {
  const bench = await open();
  await bench.stage(2);
  let isSlow = true;
  bench.engine.before = async (statement) => {
    if (!isMerge({ name: "", statement }) || !isSlow) return;
    isSlow = false;
    const cancels = bench.front.calls.get("CancelOperation") ?? 0;
    await until("the statement is cancelled", () => (bench.front.calls.get("CancelOperation") ?? 0) > cancels);
  };
  await bench.apply({ statementTimeoutMs: 1_000 });
  expect(isSlow).toBe(false);
  expect(bench.applied).toEqual(bench.staged);
});

it.concurrent("one that goes on although it is cancelled doesn't commit behind its successor", async () => {
  const bench = await open();
  await bench.stage(2);
  let isSlow = true;
  let commit = () => {};
  const { run } = bench.engine;
  // This engine takes a cancel for a wish.
  bench.engine.run = (statement) => run.call(bench.engine, statement);
  let late: Promise<void> = Promise.resolve();
  bench.engine.before = (statement) => {
    if (!isMerge({ name: "", statement }) || !isSlow) return;
    isSlow = false;
    late = new Promise((resolve) => {
      commit = resolve;
    });
    return late;
  };
  await bench.apply({ statementTimeoutMs: 1_000 });
  expect(bench.applied).toEqual(bench.staged);
  commit();
  await late;
  await new Promise((resolve) => setImmediate(resolve));
  expect(bench.applied).toEqual(bench.staged);
});

it.concurrent("a statement that is never answered has a deadline too", async () => {
  const bench = await open();
  await bench.stage();
  bench.front.fault = first(1, isMerge, "hang");
  await bench.apply({ statementTimeoutMs: 1_000 });
  expect(bench.applied).toEqual(bench.staged);
});

it.concurrent("a statement that somebody cancels at the warehouse comes again", async () => {
  const bench = await open();
  await bench.stage();
  let isFirst = true;
  bench.engine.before = (statement) => {
    if (!isMerge({ name: "", statement }) || !isFirst) return;
    isFirst = false;
    bench.service.cancelAll();
  };
  await bench.apply();
  expect(isFirst).toBe(false);
  expect(bench.applied).toEqual(bench.staged);
});

it.concurrent("a statement that runs when the process is told to end is cancelled, and isn't taken for one that takes too long", async () => {
  const bench = await open();
  const process = new AbortController();
  const session = await bench.session({ signal: process.signal });
  let isEnded = false;
  bench.engine.before = async (statement) => {
    if (statement !== "OPTIMIZE t1") return;
    process.abort();
    await until("it is cancelled", () => (bench.front.calls.get("CancelOperation") ?? 0) > 0);
    isEnded = true;
  };
  await expect(session.run("OPTIMIZE t1")).rejects.toMatchObject({
    message: expect.stringContaining("stopped while a statement ran"),
    outcome: "unknown",
  });
  await until("the engine has ended it", () => isEnded);
  await session.close();
});

it.concurrent("a quota that is exceeded is waited out", async () => {
  const bench = await open();
  await bench.stage();
  const { run } = bench.engine;
  let left = 1;
  bench.engine.run = async (statement, signal) => {
    if (!isMerge({ name: "", statement }) || left-- <= 0) return run.call(bench.engine, statement, signal);
    throw new Error("[RESOURCE_EXHAUSTED] too many statements wait. SQLSTATE: 53000");
  };
  await bench.apply();
  expect(bench.applied).toEqual(bench.staged);
});

it.concurrent("a token that ends is followed by the next one, in the same session", async () => {
  const bench = await open();
  const given = ["first", "second"];
  const refused: string[] = [];
  bench.tokens = {
    token: async () => given[0],
    refuse: (token) => {
      refused.push(token);
      if (token === given[0]) given.shift();
    },
  };
  await bench.stage(3);
  let merges = 0;
  bench.front.fault = (call) => {
    // While the second of three statements runs.
    if (isMerge(call) && ++merges === 2) bench.front.accepts = (token) => token === "second";
    return "none";
  };
  const before = bench.front.calls.get("OpenSession") ?? 0;
  await bench.apply({}, 1);
  expect(bench.applied).toEqual(bench.staged);
  expect(refused).toEqual(["first"]);
  expect((bench.front.calls.get("OpenSession") ?? 0) - before).toBe(1);
});

it.concurrent("a token that is refused and has no successor is told at once", async () => {
  const bench = await open();
  bench.front.accepts = () => false;
  await expect(bench.session()).rejects.toMatchObject({ kind: "authentication" });
  expect(bench.waits).toEqual([]);
});
