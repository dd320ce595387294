import { setTimeout as delay } from "node:timers/promises";
import { parseRetryAfterMs } from "../../databricks/api-error";
import { SluiceError } from "../../errors";
import { callRefused, httpFailure, lostAnswer, noToken, overdue, refused, SqlFailure, stopped } from "./sql-failure";

export type SqlRow = Record<string, unknown>;

/** Statements on one engine; several at a time. */
export interface SqlSession {
  /** @throws SqlFailure */
  run(statement: string): Promise<SqlRow[]>;
  close(): Promise<void>;
}

export interface SqlEndpoint {
  host: string;
  /** default 443 */
  port?: number;
  /** such as `/sql/1.0/warehouses/<id>` */
  path: string;
  /** PEM, for a server whose certificate no public authority has signed */
  caCert?: string;
}

/** Tokens that are good now; one that is refused is followed by another, where there can be one. */
export interface SqlTokens {
  token(): Promise<string>;
  refuse(token: string): void;
}

export interface SqlSessionOptions {
  /** asked for each call */
  tokens: SqlTokens;
  /** a statement that takes longer is cancelled */
  statementTimeoutMs: number;
  /** how long a warehouse that starts, or has no room, is waited for */
  startTimeoutMs: number;
  /** between attempts, of the client's too; default 1 s to 30 s */
  waitMs?: { min: number; max: number };
  /** statements before all others */
  settings: string[];
  signal: AbortSignal;
  /** told while the warehouse isn't there yet */
  onWait?: (reason: string) => void;
}

type Driver = typeof import("@databricks/sql");
type Session = Awaited<ReturnType<InstanceType<Driver["DBSQLClient"]>["openSession"]>>;
type Operation = Awaited<ReturnType<Session["executeStatement"]>>;

const waitMsDefault = { min: 1_000, max: 30_000 };
/** Failures of the way to a running statement that are passed over. */
const pollFailuresMax = 5;

/**
 * A session on a SQL warehouse. The client is loaded here only: who writes to a folder needs none of it. It sends no
 * statement twice by itself (its own retries are for what is asked *of* a statement).
 * @throws SqlFailure when the warehouse can't be had in time
 */
export async function openSqlSession(endpoint: SqlEndpoint, options: SqlSessionOptions): Promise<SqlSession> {
  const driver = await loadDriver();
  const calls = new WarehouseCalls(options);
  const untilMs = performance.now() + options.startTimeoutMs;
  const mayPass = ({ kind }: SqlFailure) => kind === "unreachable" || kind === "timeout";
  return calls.until(untilMs, mayPass, async () => {
    const session = await connect(driver, endpoint, calls);
    try {
      for (const setting of options.settings) await session.run(setting, untilMs);
      return session;
    } catch (thrown) {
      await session.close();
      throw thrown;
    }
  });
}

async function connect(
  { DBSQLClient }: Driver,
  endpoint: SqlEndpoint,
  calls: WarehouseCalls,
): Promise<DatabricksSession> {
  // The client's own log would have statements, and more, on standard output.
  const client = new DBSQLClient({ logger: { log: () => {} } as never });
  const connected = await client.connect({
    host: endpoint.host,
    port: endpoint.port,
    path: endpoint.path,
    customCaCert: endpoint.caCert,
    authType: "custom",
    provider: calls,
    retryDelayMin: calls.waitMs.min,
    retryDelayMax: calls.waitMs.max,
    telemetryEnabled: false,
    userAgentEntry: "sluice",
  });
  const session = await calls.authenticated(() => connected.openSession());
  return new DatabricksSession(session, () => client.close(), calls);
}

/** How calls are made, of whatever session: with which token, and how often. */
class WarehouseCalls {
  readonly waitMs: { min: number; max: number };
  private token = "";

  constructor(readonly options: SqlSessionOptions) {
    this.waitMs = options.waitMs ?? waitMsDefault;
  }

  /** The client asks for each call: a token may end long before its session. */
  async authenticate(): Promise<{ Authorization: string }> {
    this.token = await this.options.tokens.token().catch((thrown: unknown) => {
      throw noToken(thrown);
    });
    return { Authorization: `Bearer ${this.token}` };
  }

  /** A token that is refused may have ended before its time: if there is another one, the call is made again with it. */
  async authenticated<T>(call: () => Promise<T>): Promise<T> {
    try {
      return await call();
    } catch (thrown) {
      if (failureOf(thrown).kind !== "authentication") throw thrown;
      const { tokens } = this.options;
      const refusedToken = this.token;
      tokens.refuse(refusedToken);
      if ((await tokens.token()) === refusedToken) throw thrown;
      return call();
    }
  }

  /** Makes an attempt again, as long as its failure may pass; longer apart each time, and as long as the server asks. */
  async until<T>(untilMs: number, mayPass: (failure: SqlFailure) => boolean, attempt: () => Promise<T>): Promise<T> {
    const { signal, onWait } = this.options;
    const { min, max } = this.waitMs;
    for (let count = 0; ; count++) {
      try {
        return await attempt();
      } catch (thrown) {
        const failure = failureOf(thrown);
        const backoffMs = Math.max(failure.retryAfterMs ?? 0, Math.min(min * 2 ** count, max));
        if (!mayPass(failure) || signal.aborted || performance.now() + backoffMs > untilMs) throw failure;
        onWait?.(failure.message);
        await delay(backoffMs, undefined, { signal }).catch(() => {});
      }
    }
  }
}

async function loadDriver(): Promise<Driver> {
  try {
    return await import("@databricks/sql");
  } catch (cause) {
    throw new SluiceError("config", "the client of Databricks warehouses, @databricks/sql, isn't installed here", {
      remedy: "Install pulumi-sluice with its dependencies, or run the applier in the project's image.",
      cause,
    });
  }
}

class DatabricksSession implements SqlSession {
  constructor(
    private readonly session: Session,
    private readonly disconnect: () => Promise<void>,
    private readonly calls: WarehouseCalls,
  ) {}

  /** `untilMs`: so long it is sent again where the warehouse asks for that */
  async run(statement: string, untilMs = performance.now() + this.calls.options.startTimeoutMs): Promise<SqlRow[]> {
    const { statementTimeoutMs, signal } = this.calls.options;
    const isAsked = ({ retryAfterMs }: SqlFailure) => retryAfterMs !== null;
    return this.calls.until(untilMs, isAsked, async () => {
      // Of the statement, not of the wait for a warehouse that takes it.
      const deadline = AbortSignal.any([signal, AbortSignal.timeout(statementTimeoutMs)]);
      const operation = await this.begin(statement, deadline);
      try {
        await this.finish(operation, deadline);
        return (await inTime(deadline, statementTimeoutMs, () => operation.fetchAll())) as SqlRow[];
      } catch (thrown) {
        throw isEnded(thrown) ? failureOf(thrown) : failureOf(thrown).whileRunning();
      } finally {
        await Promise.race([operation.close(), delay(closeMsMax)]).catch(() => {});
      }
    });
  }

  /** Sends a statement. It may run before its handle has come: then that is waited for, to cancel it. */
  private async begin(statement: string, deadline: AbortSignal): Promise<Operation> {
    const sent = this.calls.authenticated(() => this.session.executeStatement(statement));
    try {
      return await inTime(deadline, this.calls.options.statementTimeoutMs, () => sent);
    } catch (thrown) {
      const cancelled = sent.then((operation) => operation.cancel());
      if (deadline.aborted) await Promise.race([cancelled, delay(closeMsMax)]).catch(() => {});
      else cancelled.catch(() => {});
      throw thrown;
    }
  }

  /** Waits for a statement; one that takes too long is cancelled. */
  private async finish(operation: Operation, deadline: AbortSignal): Promise<void> {
    const { statementTimeoutMs, signal } = this.calls.options;
    for (let failures = 0; ; ) {
      try {
        const finished = () => this.calls.authenticated(() => operation.finished());
        return await inTime(deadline, statementTimeoutMs, finished);
      } catch (thrown) {
        if (deadline.aborted) {
          await Promise.race([operation.cancel(), delay(closeMsMax)]).catch(() => {});
          throw thrown;
        }
        // What the engine says of a statement is final; a way that is cut may be whole again.
        if (isEnded(thrown) || ++failures > pollFailuresMax) throw thrown;
        await delay(this.calls.waitMs.min, undefined, { signal }).catch(() => {});
      }
    }
  }

  async close(): Promise<void> {
    await Promise.race([this.session.close().then(this.disconnect), delay(closeMsMax)]).catch(() => {});
  }
}

/** How long the end of a statement or a session is waited for. */
const closeMsMax = 5_000;

/** A call's result, or its failure once a statement's time is over or the process is told to end. */
async function inTime<T>(deadline: AbortSignal, timeoutMs: number, call: () => Promise<T>): Promise<T> {
  let stop = () => {};
  const isOver = new Promise<never>((_, reject) => {
    stop = () => reject(deadline.reason?.name === "TimeoutError" ? overdue(timeoutMs) : stopped());
    if (deadline.aborted) stop();
    else deadline.addEventListener("abort", stop, { once: true });
  });
  try {
    return await Promise.race([call(), isOver]);
  } finally {
    deadline.removeEventListener("abort", stop);
  }
}

/** Whether a statement runs no more: the engine itself says what became of it. */
function isEnded(thrown: unknown): boolean {
  return engineAnswer(thrown) !== null;
}

/** The client's OperationStateError: how an operation has ended, and its status. */
function engineAnswer(thrown: unknown): { state: string; status: Record<string, unknown> } | null {
  if (typeof thrown !== "object" || thrown === null) return null;
  const { errorCode, response } = thrown as { errorCode?: unknown; response?: unknown };
  if (typeof errorCode !== "string" || typeof response !== "object" || response === null) return null;
  return { state: errorCode, status: response as Record<string, unknown> };
}

/** An answer of HTTP that has no call's answer in it: the client's THTTPException. */
function httpAnswer({ statusCode, response }: { statusCode?: unknown; response?: unknown }) {
  if (typeof statusCode !== "number") return null;
  const { headers } = (response ?? {}) as { headers?: { get?: (name: string) => string | null } };
  const header = (name: string) => headers?.get?.(name) ?? undefined;
  return {
    status: statusCode,
    retryAfterMs: parseRetryAfterMs(header("retry-after"), Date.now()),
    told: header("x-thriftserver-error-message") ?? header("x-databricks-error-or-redirect-message") ?? null,
  };
}

/** What the client has thrown, by its fields. */
export function failureOf(thrown: unknown): SqlFailure {
  if (thrown instanceof SqlFailure) return thrown;
  if (typeof thrown !== "object" || thrown === null) return lostAnswer(thrown);
  const http = httpAnswer(thrown);
  if (http !== null) return httpFailure(http.status, http);
  const message = thrown instanceof Error ? thrown.message : String((thrown as { message?: unknown }).message);
  const ended = engineAnswer(thrown);
  if (ended !== null) {
    const { sqlState, displayMessage, errorMessage } = ended.status;
    const text = [displayMessage, errorMessage, message].find((each) => typeof each === "string" && each !== "");
    const state = typeof sqlState === "string" ? sqlState : null;
    if (ended.state === "ERROR") return refused(String(text), state);
    // Somebody has cancelled it, or its time was over by the warehouse's own limit; or its session has ended.
    return refused(
      String(text),
      state,
      "unknown",
      ["CANCELED", "TIMEOUT"].includes(ended.state) ? "timeout" : "unreachable",
    );
  }
  // The client's StatusError: a call that was refused.
  if ((thrown as { name?: unknown }).name === "Status Error") return callRefused(message);
  return lostAnswer(thrown);
}
