import { readFile } from "node:fs/promises";
import type { RuntimeConfig } from "../config";
import { describeError, SluiceError } from "../errors";
import { bytesText, countText, textTable } from "../operate/text-table";
import type { ApplierStatus, GatewayStatus, ProcessState, StatusDocument } from "../status";

/** A document that is older is of a process that has ended, or hangs. */
const freshMs = 10_000;

/** `sluice status`: the process's status document, from its file; the process needn't run. */
export async function printStatus(config: RuntimeConfig, asJson: boolean): Promise<void> {
  const document = await readStatus(config.statusPath);
  if (asJson) process.stdout.write(`${JSON.stringify(document)}\n`);
  else process.stdout.write(`${statusLines(document, Date.now()).join("\n")}\n`);
}

async function readStatus(path: string): Promise<StatusDocument> {
  try {
    return JSON.parse(await readFile(path, "utf8")) as StatusDocument;
  } catch (cause) {
    throw new SluiceError("missing-object", `there is no status at ${path}: ${describeError(cause)}`, {
      remedy: "Start the process first.",
      cause,
    });
  }
}

/** Pure. */
export function statusLines(document: StatusDocument, nowMs: number): string[] {
  const { role, id, version, pid, httpPort, state, updatedAt } = document;
  const ageMs = nowMs - Date.parse(updatedAt);
  const lines = [
    `${role} ${id}, version ${version}, pid ${pid}, port ${httpPort}: ${stateText(state)}`,
    ageMs > freshMs ? `last written ${Math.round(ageMs / 1_000)} s ago: the process has ended, or hangs` : "",
    ...(document.role === "gateway" ? gatewayLines(document) : applierLines(document)),
  ];
  return lines.filter((line) => line !== "");
}

function stateText(state: ProcessState): string {
  switch (state.kind) {
    case "starting":
    case "running":
    case "stopping":
    case "stopped":
      return state.kind;
    case "waiting":
      return `waiting: ${state.reason}`;
    case "failed":
      return `failed: ${state.message}`;
  }
}

function gatewayLines({ receivedLsn, stagedLsn, acknowledgedLsn, lag, slot, alerts, tables }: GatewayStatus): string[] {
  const lagText = lag.bytes === null ? "unknown" : `${bytesText(lag.bytes)}, ${((lag.ms ?? 0) / 1_000).toFixed(1)} s`;
  const rows = tables.map((table) => [
    `${table.schema}.${table.name}`,
    "message" in table.state ? `failed: ${table.state.message}` : table.state.kind,
    countText(table.state.kind === "snapshot" ? table.state.rows : table.snapshotRows),
    countText(table.inserts),
    countText(table.updates),
    countText(table.deletes),
  ]);
  return [
    `received ${receivedLsn}, staged ${stagedLsn}, acknowledged ${acknowledgedLsn}, lag ${lagText}`,
    slot === null ? "" : `slot: ${slot.walStatus ?? "unknown"}, WAL kept ${bytesText(slot.retainedBytes ?? 0)}`,
    ...alerts.map(({ level, message, remedy }) => `${level}: ${message}\n  remedy: ${remedy}`),
    ...textTable(["NAME", "STATUS", "COPIED", "INSERTS", "UPDATES", "DELETES"], rows, 2),
  ];
}

function applierLines({ stagedSequence, appliedSequence, appliedLsn, nextRunAt, tables }: ApplierStatus): string[] {
  const rows = tables.map((table) => [
    `${table.schema}.${table.name}`,
    table.mode,
    table.state.kind,
    ...[table.rows, table.upserted, table.deleted, table.dropped].map(countText),
    table.failPercent.toFixed(1),
    countText(table.files),
    bytesText(table.bytes),
  ]);
  const headings = ["NAME", "MODE", "STATUS", "ROWS", "UPSERTED", "DELETED", "DROPPED", "FAIL %", "FILES", "BYTES"];
  const troubles = tables.flatMap(({ schema, name, state }) => {
    if (state.kind !== "failed" && state.kind !== "quarantined") return [];
    const remedy = state.remedy === undefined ? "" : `\n  remedy: ${state.remedy}`;
    return [`${schema}.${name}: ${state.message}${remedy}`];
  });
  return [
    `applied ${appliedSequence} of ${stagedSequence} staged commits, up to ${appliedLsn}`,
    nextRunAt === null ? "" : `next run ${nextRunAt}`,
    ...textTable(headings, rows, 3),
    ...troubles,
  ];
}
