import { setTimeout as delay } from "node:timers/promises";
import { SluiceError } from "../../errors";
import { httpFailure, lostAnswer, overdue, refused, SqlFailure } from "./sql-failure";

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

export interface SqlSessionOptions {
  /** a token that is good now; asked for at each connection */
  token: () => Promise<string> | string;
  /** a statement that takes longer is cancelled; default 30 min */
  statementTimeoutMs: number;
  /** how long a warehouse that starts is waited for; default 15 min */
  startTimeoutMs: number;
  /** statements before all others */
  settings: string[];
  signal: AbortSignal;
  /** told while the warehouse isn't there yet */
  onWait?: (reason: string) => void;
}

type Driver = typeof import("@databricks/sql");
type Session = Awaited<ReturnType<InstanceType<Driver["DBSQLClient"]>["openSession"]>>;
type Operation = Awaited<ReturnType<Session["executeStatement"]>>;

/** Between attempts to reach a warehouse that starts, or has no room. */
const waitMs = { min: 1_000, max: 30_000 };
/** Failures of the way to a running statement that are passed over. */
const pollFailuresMax = 5;

/**
 * A session on a SQL warehouse. The client is loaded here only: who writes to a folder needs none of it. It sends no
 * statement twice by itself (its own retries are for what is asked *of* a statement).
 * @throws SqlFailure when the warehouse can't be had in time
 */
export async function openSqlSession(endpoint: SqlEndpoint, options: SqlSessionOptions): Promise<SqlSession> {
  const { DBSQLClient } = await loadDriver();
  const untilMs = performance.now() + options.startTimeoutMs;
  for (let attempt = 0; ; attempt++) {
    try {
      // The client's own log would have statements, and more, on standard output.
      const client = new DBSQLClient({ logger: { log: () => {} } as never });
      const connected = await client.connect({
        host: endpoint.host,
        port: endpoint.port,
        path: endpoint.path,
        customCaCert: endpoint.caCert,
        token: await options.token(),
        telemetryEnabled: false,
        userAgentEntry: "sluice",
      });
      const session = await connected.openSession();
      const opened = new DatabricksSession(session, () => client.close(), options);
      for (const setting of options.settings) await opened.run(setting);
      return opened;
    } catch (thrown) {
      const failure = failureOf(thrown);
      const mayPass = failure.kind === "unreachable" || failure.kind === "timeout";
      const backoffMs = Math.min(waitMs.min * 2 ** attempt, waitMs.max);
      if (!mayPass || options.signal.aborted || performance.now() + backoffMs > untilMs) throw failure;
      options.onWait?.(failure.message);
      await delay(backoffMs, undefined, { signal: options.signal }).catch(() => {});
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
    private readonly options: SqlSessionOptions,
  ) {}

  async run(statement: string): Promise<SqlRow[]> {
    let operation: Operation;
    try {
      operation = await this.session.executeStatement(statement);
    } catch (thrown) {
      throw failureOf(thrown);
    }
    try {
      await this.finish(operation);
      return (await operation.fetchAll()) as SqlRow[];
    } catch (thrown) {
      throw failureOf(thrown);
    } finally {
      await operation.close().catch(() => {});
    }
  }

  /** Waits for a statement; one that takes too long is cancelled. */
  private async finish(operation: Operation): Promise<void> {
    const { statementTimeoutMs, signal } = this.options;
    const deadline = AbortSignal.any([signal, AbortSignal.timeout(statementTimeoutMs)]);
    for (let failures = 0; ; ) {
      const isOver = new Promise<never>((_, reject) => {
        const stop = () => reject(overdue(statementTimeoutMs));
        if (deadline.aborted) stop();
        else deadline.addEventListener("abort", stop, { once: true });
      });
      isOver.catch(() => {});
      try {
        return await Promise.race([operation.finished(), isOver]);
      } catch (thrown) {
        if (deadline.aborted) {
          await Promise.race([operation.cancel(), delay(5_000)]).catch(() => {});
          throw thrown;
        }
        // What the engine says of a statement is final; a way that is cut may be whole again.
        if (failureOf(thrown).outcome === "none" || ++failures > pollFailuresMax) throw thrown;
        await delay(waitMs.min, undefined, { signal }).catch(() => {});
      }
    }
  }

  async close(): Promise<void> {
    await Promise.race([this.session.close().then(this.disconnect), delay(5_000)]).catch(() => {});
  }
}

/** What the client has thrown, by its fields. */
export function failureOf(thrown: unknown): SqlFailure {
  if (thrown instanceof SqlFailure) return thrown;
  if (typeof thrown !== "object" || thrown === null) return lostAnswer(thrown);
  const { response, statusCode, payload, errorCode } = thrown as Record<string, Record<string, unknown> | undefined>;
  const status = statusCode ?? (payload?.response as Record<string, unknown> | undefined)?.status ?? response?.status;
  if (typeof status === "number") return httpFailure(status, thrown);
  const message = thrown instanceof Error ? thrown.message : String((thrown as { message?: unknown }).message);
  // An operation that the engine ended: with the error, or as somebody has cancelled or closed it.
  if (typeof errorCode === "string" && typeof response === "object") {
    const { sqlState, displayMessage, errorMessage } = response as Record<string, unknown>;
    const text = [displayMessage, errorMessage, message].find((each) => typeof each === "string" && each !== "");
    const isEnded = (errorCode as unknown) === "ERROR";
    return refused(String(text), typeof sqlState === "string" ? sqlState : null, isEnded ? "none" : "unknown");
  }
  // A statement that wasn't begun: the client's StatusError.
  if ((thrown as { name?: unknown }).name === "Status Error") return refused(message, null);
  return lostAnswer(thrown);
}
