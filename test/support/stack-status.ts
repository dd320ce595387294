import { readFileSync } from "node:fs";
import { setTimeout as pause } from "node:timers/promises";
import type { Client } from "pg";
import { parseLsn } from "../../runtime/postgres/lsn";
import type { ApplierStatus, GatewayStatus, ProcessState } from "../../runtime/status";

export interface StackStatus {
  /** null while there is no status document */
  gateway: GatewayStatus | null;
  applier: ApplierStatus | null;
}

export interface StatusPaths {
  gatewayStatusPath: string;
  applierStatusPath: string;
}

export function readStackStatus({ gatewayStatusPath, applierStatusPath }: StatusPaths): StackStatus {
  return { gateway: readDocument(gatewayStatusPath), applier: readDocument(applierStatusPath) };
}

function readDocument<T>(path: string): T | null {
  try {
    return JSON.parse(readFileSync(path, "utf8")) as T;
  } catch {
    return null;
  }
}

export interface WaitOptions {
  timeoutMs: number;
  onLook?: (status: StackStatus) => void;
  signal?: AbortSignal;
}

/** Waits until `condition` holds. @throws Error when a process or table fails, or time is up */
export async function awaitStack(
  what: string,
  paths: StatusPaths,
  condition: (status: StackStatus) => boolean,
  options: WaitOptions,
): Promise<StackStatus> {
  const deadlineMs = Date.now() + options.timeoutMs;
  for (;;) {
    options.signal?.throwIfAborted();
    const status = readStackStatus(paths);
    options.onLook?.(status);
    if (condition(status)) return status;
    const failure = failureOf(status);
    if (failure !== null) throw new Error(`waiting until ${what}: ${failure}`);
    if (Date.now() > deadlineMs) {
      throw new Error(`waited ${options.timeoutMs} ms in vain until ${what}: ${summaryOf(status)}`);
    }
    await pause(100);
  }
}

/** Every one of these tables streams, and is in the destination. */
export function isStreaming({ gateway, applier }: StackStatus, tables: readonly string[]): boolean {
  return tables.every((name) => {
    const source = gateway?.tables.find((table) => table.name === name);
    const destination = applier?.tables.find((table) => table.name === name);
    const applied = destination?.state.kind === "running" || destination?.state.kind === "idle";
    return source?.state.kind === "streaming" && applied;
  });
}

/**
 * Waits until all that is committed now is in the destination; nobody may write meanwhile.
 * @returns the position that source and destination are compared at
 */
export async function awaitCaughtUp(
  client: Client,
  paths: StatusPaths,
  tables: readonly string[],
  options: WaitOptions,
): Promise<{ lsn: string; status: StackStatus }> {
  const { rows } = await client.query<{ lsn: string }>("SELECT pg_current_wal_flush_lsn()::text AS lsn");
  const { lsn } = rows[0];
  const goal = parseLsn(lsn);
  const status = await awaitStack(
    `${lsn} is in the destination`,
    paths,
    (now) =>
      now.gateway !== null &&
      now.applier !== null &&
      parseLsn(now.gateway.acknowledgedLsn) >= goal &&
      now.applier.appliedSequence === now.gateway.stagedSequence &&
      isStreaming(now, tables),
    options,
  );
  return { lsn, status };
}

function failureOf({ gateway, applier }: StackStatus): string | null {
  for (const document of [gateway, applier]) {
    if (document === null) continue;
    if (document.state.kind === "failed") return `the ${document.role} failed: ${document.state.message}`;
    for (const { schema, name, state } of document.tables) {
      if (state.kind === "failed") return `the ${document.role}'s table ${schema}.${name} failed: ${state.message}`;
    }
  }
  return null;
}

function summaryOf({ gateway, applier }: StackStatus): string {
  const stateOf = (state: ProcessState | undefined) => state?.kind ?? "absent";
  return [
    `gateway ${stateOf(gateway?.state)}, acknowledged ${gateway?.acknowledgedLsn}, staged ${gateway?.stagedSequence}`,
    ...(gateway?.tables ?? []).map((table) => `${table.name} ${table.state.kind}`),
    `applier ${stateOf(applier?.state)}, applied ${applier?.appliedSequence}`,
    ...(applier?.tables ?? []).map((table) => `${table.name} ${table.state.kind}`),
  ].join("; ");
}
