import { type ErrorKind, SluiceError } from "../../errors";

/** What is known of a statement that has failed: it has no effect, or nobody knows. */
export type Outcome = "none" | "unknown";

export class SqlFailure extends SluiceError {
  constructor(
    kind: Exclude<ErrorKind, "internal">,
    message: string,
    readonly outcome: Outcome,
    options: { remedy: string; sqlState?: string; cause?: unknown },
    /** the engine's name of the error, such as TABLE_OR_VIEW_NOT_FOUND */
    readonly condition: string | null = null,
    /** whoever was asked to come again was not served: how long to wait; null when nobody asked */
    readonly retryAfterMs: number | null = null,
  ) {
    super(kind, message, options);
  }

  /** The same of a statement that was begun, whatever became of it. */
  whileRunning(): SqlFailure {
    const { kind, message, remedy, sqlState, cause, condition } = this;
    return new SqlFailure(
      kind as Exclude<ErrorKind, "internal">,
      message,
      "unknown",
      { remedy, sqlState, cause },
      condition,
    );
  }
}

interface Rule {
  kind: Exclude<ErrorKind, "internal">;
  remedy: string;
}

const remedies: Record<string, Rule> = {
  authentication: {
    kind: "authentication",
    remedy: "Check destination.auth: the token or the service principal's secret, and that it isn't expired.",
  },
  permission: {
    kind: "permission",
    remedy:
      "Grant what the message names: USE CATALOG, USE SCHEMA, CREATE TABLE on the schema, MODIFY and SELECT on its tables, READ VOLUME on staging's volume, and CAN USE on the warehouse.",
  },
  missing: {
    kind: "missing-object",
    remedy: "Create what the message names, or correct destination.catalog and schema.",
  },
  conflict: {
    kind: "conflict",
    remedy: "It is tried again by itself; if it lasts, look for who else writes the table.",
  },
  busy: {
    kind: "unreachable",
    remedy: "It is tried again by itself; if it lasts, check the warehouse's size and limits.",
  },
  timeout: {
    kind: "timeout",
    remedy: "It is tried again by itself; raise destination.statementTimeoutMs, or take a larger warehouse.",
  },
  unsupported: {
    kind: "unsupported",
    remedy: "The engine must be a current Databricks SQL warehouse, or Spark with Delta Lake 4 or newer.",
  },
  unreachable: {
    kind: "unreachable",
    remedy: "It is tried again by itself; if it lasts, check destination.host, httpPath and the network.",
  },
  other: { kind: "destination", remedy: "Look at the statement in the warehouse's query history." },
};

/** By the engine's name of the error, where its SQLSTATE says too little. */
const byCondition: [RegExp, keyof typeof remedies][] = [
  [/^(DELTA_CONCURRENT_|DELTA_METADATA_CHANGED|DELTA_PROTOCOL_CHANGED|CONCURRENT_)/, "conflict"],
  [/^DELTA_SCHEMA_CHANGE_SINCE_ANALYSIS/, "conflict"],
  // Of a statement's guard: another process has taken over.
  [/^USER_RAISED_EXCEPTION/, "conflict"],
  [/^(TABLE_OR_VIEW_NOT_FOUND|SCHEMA_NOT_FOUND|DELTA_TABLE_NOT_FOUND|DELTA_MISSING_DELTA_TABLE)/, "missing"],
  [/^(INSUFFICIENT_PERMISSIONS|PERMISSION_DENIED)/, "permission"],
];
const bySqlState: [RegExp, keyof typeof remedies][] = [
  [/^28/, "authentication"],
  [/^42501/, "permission"],
  [/^(42P01|42704|3F000|3D000)/, "missing"],
  [/^(40|2D521|2D52)/, "conflict"],
  [/^(53|54|57P|08)/, "busy"],
  [/^(57014|HYT0|HY008)/, "timeout"],
  [/^(0A|56038)/, "unsupported"],
];

/**
 * An answer of the engine itself: the statement has failed, and Delta's commits are all or nothing.
 * @param unnamed what it is where neither its name nor its SQLSTATE says it
 */
export function refused(
  message: string,
  sqlState: string | null,
  outcome: Outcome = "none",
  unnamed: keyof typeof remedies = "other",
): SqlFailure {
  const [, condition = null] = /\[([A-Z][A-Z0-9_]+(?:\.[A-Z0-9_]+)?)\]/.exec(message) ?? [];
  const [, told] = /SQLSTATE: ([0-9A-Z]{5})/.exec(message) ?? [];
  const state = told ?? sqlState ?? "";
  const found =
    byCondition.find(([pattern]) => condition !== null && pattern.test(condition)) ??
    bySqlState.find(([pattern]) => pattern.test(state));
  const { kind, remedy } = remedies[found?.[1] ?? unnamed];
  return new SqlFailure(
    kind,
    `the warehouse refused a statement: ${brief(message)}`,
    outcome,
    { remedy, sqlState: state },
    condition,
  );
}

/** A statement that took too long, and is cancelled. */
export function overdue(timeoutMs: number): SqlFailure {
  const { kind, remedy } = remedies.timeout;
  return new SqlFailure(kind, `a statement took longer than ${timeoutMs} ms`, "unknown", { remedy });
}

/** A statement that ran when this process was told to end, and is cancelled. */
export function stopped(): SqlFailure {
  const remedy = "It is tried again at the next start.";
  return new SqlFailure("unreachable", "the applier was stopped while a statement ran", "unknown", { remedy });
}

/**
 * A call that the service has refused without a word of SQL's (no name, no SQLSTATE): the session is over, or its warehouse
 * isn't there yet. Databricks takes a session for a warehouse that only starts, and refuses all that comes in it.
 */
export function callRefused(message: string): SqlFailure {
  const failure = refused(message, null);
  if (failure.condition !== null || failure.sqlState !== "") return failure;
  const { kind, remedy } = remedies.unreachable;
  return new SqlFailure(kind, `the warehouse refused a call: ${brief(message)}`, "unknown", { remedy });
}

/**
 * By the status of an answer of HTTP. Who is asked to come again, or may not come in, was not served; a 503 that asks for
 * nothing may be of a proxy that has sent the call on.
 */
export function httpFailure(
  status: number,
  { retryAfterMs = null, told = null }: { retryAfterMs?: number | null; told?: string | null },
): SqlFailure {
  const isBusy = status === 429 || (status === 503 && retryAfterMs !== null);
  const { kind, remedy } =
    status === 401
      ? remedies.authentication
      : status === 403
        ? remedies.permission
        : isBusy
          ? remedies.busy
          : remedies.unreachable;
  const outcome = isBusy || status === 401 || status === 403 ? "none" : "unknown";
  const text = `the warehouse answered with HTTP status ${status}${told === null ? "" : `: ${brief(told)}`}`;
  return new SqlFailure(kind, text, outcome, { remedy }, null, isBusy ? (retryAfterMs ?? 0) : null);
}

/** A call that wasn't made, as there is no token for it. */
export function noToken(cause: unknown): SqlFailure {
  if (cause instanceof SluiceError && cause.kind !== "internal") {
    return new SqlFailure(cause.kind, cause.message, "none", { remedy: cause.remedy, cause });
  }
  const { kind, remedy } = remedies.unreachable;
  const message = cause instanceof Error ? cause.message : String(cause);
  return new SqlFailure(kind, `no token for the warehouse is to be had: ${brief(message)}`, "none", { remedy, cause });
}

/** No answer, or only a part of one. */
export function lostAnswer(cause: unknown): SqlFailure {
  const { kind, remedy } = remedies.unreachable;
  const message = cause instanceof Error ? cause.message : String(cause);
  return new SqlFailure(kind, `the warehouse's answer was lost: ${brief(message)}`, "unknown", { remedy, cause });
}

function brief(message: string): string {
  return message.split("\n")[0].slice(0, 500);
}
