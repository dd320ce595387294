import { readFile } from "node:fs/promises";
import { bytesText } from "../byte-text";
import type { RuntimeConfig } from "../config";
import { describeError, SluiceError } from "../errors";
import { countText, textTable } from "../operate/text-table";
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

function applierLines(document: ApplierStatus): string[] {
  const { stagedSequence, appliedSequence, appliedLsn, nextRunAt, tables } = document;
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
  const troubles = tables.flatMap(({ schema, name, state, maintenance }) => {
    if (state.kind !== "failed" && state.kind !== "quarantined") {
      return maintenance.error === null ? [] : [`${schema}.${name}: maintenance has failed: ${maintenance.error}`];
    }
    const remedy = state.remedy === undefined ? "" : `\n  remedy: ${state.remedy}`;
    return [`${schema}.${name}: ${state.message}${remedy}`];
  });
  return [
    `applied ${appliedSequence} of ${stagedSequence} staged commits, up to ${appliedLsn}`,
    nextRunAt === null ? "" : `next run ${nextRunAt}`,
    ...textTable(headings, rows, 3),
    ...maintenanceLines(document),
    ...troubles,
  ];
}

/** What was done since the process began, over all tables. */
function maintenanceLines({ tables, purge }: ApplierStatus): string[] {
  const sum = (of: (table: ApplierStatus["tables"][number]) => number) =>
    tables.reduce((total, table) => total + of(table), 0);
  const compacted = `${countText(sum(({ maintenance }) => maintenance.filesCompacted))} files compacted (${bytesText(sum(({ maintenance }) => maintenance.bytesCompacted))})`;
  const vacuumed = `${countText(sum(({ maintenance }) => maintenance.filesVacuumed))} vacuumed (${bytesText(sum(({ maintenance }) => maintenance.bytesVacuumed))})`;
  const checkpoints = `${countText(sum(({ maintenance }) => maintenance.checkpoints))} checkpoints`;
  const small = `${countText(sum(({ smallFiles }) => smallFiles))} small files`;
  const held = purge.heldBy === null ? "" : `, held back by ${purge.heldBy}`;
  const staged = purge.bytes === null ? "not measured yet" : bytesText(purge.bytes);
  return [
    `maintenance: ${compacted}, ${vacuumed}, ${checkpoints}; ${small} now`,
    `staging: ${staged}, ${countText(purge.records)} commits purged${held}`,
  ];
}
