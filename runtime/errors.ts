import { errorCatalogue } from "./error-catalogue";

/**
 * Every error that reaches a user is a `SluiceError`: what happened, to what, and the remedy.
 * Decisions (retry, stop, ask) are taken by `kind`, never by the text of a message.
 */
export type ErrorKind =
  | "config" // an input or configuration file is wrong
  | "authentication" // the source refuses user or password
  | "tls" // one side's certificate doesn't hold for the other, or one of them has no TLS
  | "unreachable" // host, port, DNS, or the server is starting or stopping
  | "permission" // the role lacks a privilege
  | "source-setting" // a server setting forbids logical replication
  | "missing-object" // a table, slot, publication or database does not exist
  | "name-taken" // a slot or publication of that name exists and is not ours
  | "slot-in-use" // another session consumes the slot
  | "slot-lost" // the slot is gone, invalidated, or ahead of staging: changes are lost
  | "timeout" // a wait passed its deadline
  | "staging" // staging can't be read or written
  | "destination" // a destination table can't be read or written
  | "conflict" // another writer was there first
  | "port-in-use" // a loopback port is taken
  | "process" // a process of ours does not start, stop or answer
  | "protocol" // the server sent bytes that its protocol doesn't allow
  | "unrepresentable" // a value that its destination type can't hold, where that stops the table
  | "unsupported" // a table, type or feature that can't be carried
  | "internal"; // a defect of ours

export interface SluiceErrorOptions {
  /** of this very case. What to do: the SQL to run, the setting to change. One or more full sentences. */
  remedy: string;
  /** PostgreSQL's five-character SQLSTATE, where there is one. */
  sqlState?: string;
  cause?: unknown;
}

export class SluiceError extends Error {
  readonly kind: ErrorKind;
  readonly remedy: string;
  readonly sqlState: string | undefined;

  /** The remedy of a defect is that of its kind. */
  constructor(kind: "internal", message: string, options?: Partial<SluiceErrorOptions>);
  constructor(kind: ErrorKind, message: string, options: SluiceErrorOptions);
  constructor(kind: ErrorKind, message: string, options: Partial<SluiceErrorOptions> = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = "SluiceError";
    this.kind = kind;
    this.remedy = options.remedy ?? errorCatalogue[kind].remedy;
    this.sqlState = options.sqlState;
  }

  /** The message with its remedy, as a user reads it. */
  describe(): string {
    return `${this.message}\n  remedy: ${this.remedy}`;
  }
}

/** The text of any thrown value, with the remedy of ours. */
export function describeError(error: unknown): string {
  if (error instanceof SluiceError) return error.describe();
  return error instanceof Error ? error.message : String(error);
}

/** The same for a log, which holds no row's values: those of an `unrepresentable` are in the status only. */
export function describeForLog(error: unknown): string {
  if (error instanceof SluiceError && error.kind === "unrepresentable") {
    return "a value can't be held by its destination type: the table's state in the status names it";
  }
  return describeError(error);
}

/** Exit code of a process that no second try helps, as its configuration is wrong (EX_CONFIG of sysexits). */
export const configExitCode = 78;

/** Pure: with which a process ends after this error. */
export function exitCodeOf(thrown: unknown): number {
  return thrown instanceof SluiceError && !isTransient(thrown.kind) ? configExitCode : 1;
}

/** Says whether the same call may succeed later without anyone changing anything. */
export function isTransient(kind: ErrorKind): boolean {
  switch (kind) {
    case "unreachable":
    case "slot-in-use":
    case "timeout":
    case "conflict":
      return true;
    case "config":
    case "authentication":
    case "tls":
    case "permission":
    case "source-setting":
    case "missing-object":
    case "name-taken":
    case "slot-lost":
    case "staging":
    case "destination":
    case "port-in-use":
    case "process":
    case "protocol":
    case "unrepresentable":
    case "unsupported":
    case "internal":
      return false;
  }
}
