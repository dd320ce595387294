// Contract: a statement whose outcome nobody knows ends the session and its epoch; what comes later has a new one, and nothing
// of before is sent in it (invariant 3). What the engine and the way to it say is told by code, never by words.
import { describe, expect, it } from "vitest";
import { lostAnswer, refused, type SqlFailure } from "../../../../runtime/destination/databricks/sql-failure";
import { failureOf, type SqlRow, type SqlSession } from "../../../../runtime/destination/databricks/sql-session";
import { Warehouse } from "../../../../runtime/destination/databricks/warehouse";

/** An engine with a table of writers, which fails what is asked under another epoch, as the guard does. */
class Engine {
  epoch = "";
  sessions = 0;
  closed = 0;
  running = 0;
  runningMax = 0;
  /** what becomes of the next statement */
  next: SqlFailure | null = null;

  async open(): Promise<SqlSession> {
    this.sessions++;
    return {
      run: async (statement) => this.run(statement),
      close: async () => {
        this.closed++;
      },
    };
  }

  private async run(statement: string): Promise<SqlRow[]> {
    const [, epoch] = /AS writer, '([^']+)' AS epoch/.exec(statement) ?? [];
    if (epoch !== undefined) this.epoch = epoch;
    if (!statement.startsWith("WORK")) return [];
    this.running++;
    this.runningMax = Math.max(this.runningMax, this.running);
    await new Promise((resolve) => setTimeout(resolve, 5));
    this.running--;
    const failure = this.next;
    this.next = null;
    if (failure !== null) throw failure;
    const [, guarded] = /<=> '([^']+)'/.exec(statement) ?? [];
    if (guarded !== undefined && guarded !== this.epoch)
      throw refused("[USER_RAISED_EXCEPTION] sluice SQLSTATE: P0001", "P0001");
    return [{ n: "1" }];
  }
}

const warehouseOf = (engine: Engine) =>
  new Warehouse(
    { catalog: "c", schema: "s", writer: "app", access: { form: "parquet", root: "/" }, parallelMax: 2 },
    () => engine.open(),
  );

describe("a warehouse", () => {
  it("takes a new epoch when an answer is lost, and sends nothing of before", async () => {
    const engine = new Engine();
    const warehouse = warehouseOf(engine);
    const first = await warehouse.ready();
    const epoch = warehouse.fence;
    engine.next = lostAnswer(new Error("socket hang up"));
    await expect(warehouse.run(first, "WORK")).rejects.toMatchObject({ outcome: "unknown" });
    const second = await warehouse.ready();
    expect([second, engine.sessions, engine.closed]).toEqual([first + 1, 2, 1]);
    expect(warehouse.fence).not.toBe(epoch);
    await expect(warehouse.run(first, "WORK")).rejects.toMatchObject({ kind: "conflict", outcome: "none" });
    expect(await warehouse.run(second, `WORK ${warehouse.guard("t")}`)).toEqual([{ n: "1" }]);
  });

  it("keeps session and epoch when the engine has refused a statement", async () => {
    const engine = new Engine();
    const warehouse = warehouseOf(engine);
    const generation = await warehouse.ready();
    engine.next = refused("[TABLE_OR_VIEW_NOT_FOUND] no t. SQLSTATE: 42P01", null);
    await expect(warehouse.run(generation, "WORK")).rejects.toMatchObject({ kind: "missing-object" });
    expect(await warehouse.ready()).toBe(generation);
    expect(engine.sessions).toBe(1);
  });

  it("has no effect any more once another process has taken over", async () => {
    const engine = new Engine();
    const [older, newer] = [warehouseOf(engine), warehouseOf(engine)];
    const before = await older.ready();
    const now = await newer.ready();
    await expect(older.run(before, `WORK ${older.guard("t")}`)).rejects.toMatchObject({ kind: "conflict" });
    expect(await newer.run(now, `WORK ${newer.guard("t")}`)).toHaveLength(1);
  });

  it("has so many statements at a time", async () => {
    const engine = new Engine();
    const warehouse = warehouseOf(engine);
    const generation = await warehouse.ready();
    await Promise.all(Array.from({ length: 8 }, () => warehouse.run(generation, "WORK")));
    expect(engine.runningMax).toBe(2);
  });
});

/** As node-fetch gives it to the client's THTTPException. */
const answer = (status: number, headers: Record<string, string> = {}) => ({
  statusCode: status,
  response: { status, headers: new Headers(headers) },
});

describe("a failure", () => {
  it.each([
    ["[DELTA_METADATA_CHANGED] x SQLSTATE: 2D521", null, "conflict"],
    ["[DELTA_CONCURRENT_APPEND.WITHOUT_HINT] x", "2D521", "conflict"],
    ["[USER_RAISED_EXCEPTION] sluice: another", "P0001", "conflict"],
    ["[INSUFFICIENT_PERMISSIONS] x SQLSTATE: 42501", null, "permission"],
    ["[SCHEMA_NOT_FOUND] x", "42704", "missing-object"],
    ["anything", "28000", "authentication"],
    ["anything", "57014", "timeout"],
    ["anything", "53000", "unreachable"],
    ["[PARSE_SYNTAX_ERROR] x", "42601", "destination"],
  ])("of the engine, %s %s, is %s", (message, sqlState, kind) => {
    expect(refused(message, sqlState)).toMatchObject({ kind, outcome: "none" });
  });

  it.each([
    [answer(503, { "retry-after": "2" }), "unreachable", "none"],
    // A proxy's may come behind the effect.
    [answer(503), "unreachable", "unknown"],
    [answer(429), "unreachable", "none"],
    [answer(404), "unreachable", "unknown"],
    [{ statusCode: 401 }, "authentication", "none"],
    [{ statusCode: 403 }, "permission", "none"],
    [{ statusCode: 500 }, "unreachable", "unknown"],
    [{ name: "Status Error", message: "Invalid SessionHandle: SessionHandle [1]", code: -1 }, "unreachable", "unknown"],
    [{ name: "Status Error", message: "[PARSE_SYNTAX_ERROR] x SQLSTATE: 42601", code: -1 }, "destination", "none"],
    [Object.assign(new Error("x"), { code: "ECONNRESET" }), "unreachable", "unknown"],
    [
      Object.assign(new Error("x"), { errorCode: "ERROR", response: { sqlState: "42501", displayMessage: "no" } }),
      "permission",
      "none",
    ],
    [
      Object.assign(new Error("x"), { errorCode: "CANCELED", response: { sqlState: "57014", displayMessage: "no" } }),
      "timeout",
      "unknown",
    ],
    [Object.assign(new Error("x"), { errorCode: "CANCELED", response: {} }), "timeout", "unknown"],
    [Object.assign(new Error("x"), { errorCode: "TIMEOUT", response: {} }), "timeout", "unknown"],
    [Object.assign(new Error("x"), { errorCode: "CLOSED", response: {} }), "unreachable", "unknown"],
  ])("of the client, %o, is %s with the outcome %s", (thrown, kind, outcome) => {
    expect(failureOf(thrown)).toMatchObject({ kind, outcome });
  });
});
