import type { GatewayConfig } from "../config";
import type { AlertKind, AlertLevel, HealthAlert, HoldingTransaction, SlotHealth } from "../status";

/** What one look finds. */
export interface HealthMeasures {
  slotName: string;
  slot: SlotHealth | null;
  lagMs: number | null;
  holding: HoldingTransaction | null;
}

export type HealthThresholds = GatewayConfig["health"];
export type AlertLevels = Readonly<Partial<Record<AlertKind, AlertLevel>>>;

const severity: Record<AlertLevel, number> = { warning: 1, critical: 2 };
/** A level is left when the measure is better than its threshold by a fifth, so that it doesn't flap. */
const hysteresis = 0.8;

/** Pure: the level of a measure that is worse the higher it is; null is no alert. */
export function nextLevel(
  previous: AlertLevel | undefined,
  value: number,
  threshold: { warning: number; critical: number },
): AlertLevel | null {
  const reached = (level: AlertLevel) => {
    const held = previous !== undefined && severity[previous] >= severity[level];
    return value >= threshold[level] * (held ? hysteresis : 1);
  };
  if (reached("critical")) return "critical";
  return reached("warning") ? "warning" : null;
}

const bytes = (count: number) => `${(count / 1024 ** 2).toFixed(0)} MiB`;
const seconds = (ms: number) => `${Math.round(ms / 1000)} s`;

/** Pure: what is to be told now, worst first; `previous` are the levels of the look before. */
export function assessHealth(
  measures: HealthMeasures,
  thresholds: HealthThresholds,
  previous: AlertLevels,
): HealthAlert[] {
  const { slotName, slot, lagMs, holding } = measures;
  const alerts: HealthAlert[] = [];
  const add = (kind: AlertKind, level: AlertLevel | null, message: string, remedy: string) => {
    if (level !== null) alerts.push({ kind, level, message, remedy });
  };
  const lossLevel = levelOfLoss(slot, thresholds, previous["slot-loss"]);
  add(
    "slot-loss",
    lossLevel,
    `the slot ${slotName} comes near its loss: wal_status ${slot?.walStatus}, ${bytes(slot?.safeWalBytes ?? 0)} of WAL left${slot?.lossMs == null ? "" : `, at this rate for ${seconds(slot.lossMs)}`}`,
    "Raise max_slot_wal_keep_size on the server now (ALTER SYSTEM SET max_slot_wal_keep_size = '…'; SELECT pg_reload_conf()), then find what holds the slot: this status's lag and holdingTransactions.",
  );
  add(
    "lag",
    lagMs === null ? null : nextLevel(previous.lag, lagMs, thresholds.lagMs),
    `what is staged is ${seconds(lagMs ?? 0)} behind the server`,
    "See whether the gateway waits (its state), whether staging is slow, or whether one large transaction is being read; a server that writes more than one stream carries needs a larger machine for the gateway.",
  );
  add(
    "retained-wal",
    slot?.retainedBytes == null
      ? null
      : nextLevel(previous["retained-wal"], slot.retainedBytes, thresholds.retainedBytes),
    `the server keeps ${bytes(slot?.retainedBytes ?? 0)} of WAL for the slot ${slotName}`,
    "See lag and holdingTransactions for what holds it; keep max_slot_wal_keep_size below what the disk of pg_wal can spare.",
  );
  add(
    "holding-transaction",
    holding === null ? null : nextLevel(previous["holding-transaction"], holding.ageMs, thresholds.transactionMs),
    `a transaction has been open for ${seconds(holding?.ageMs ?? 0)} (${holding?.pid == null ? holding?.application : `pid ${holding.pid}`}, ${holding?.state}): from its start on the server keeps WAL for the slot ${slotName}`,
    holding?.pid == null
      ? "COMMIT PREPARED or ROLLBACK PREPARED it."
      : `End it, or run SELECT pg_terminate_backend(${holding.pid}); idle_in_transaction_session_timeout prevents it.`,
  );
  return alerts.sort((a, b) => severity[b.level] - severity[a.level]);
}

function levelOfLoss(
  slot: SlotHealth | null,
  thresholds: HealthThresholds,
  previous: AlertLevel | undefined,
): AlertLevel | null {
  if (slot === null) return null;
  if (slot.walStatus === "unreserved" || slot.walStatus === "lost") return "critical";
  if (slot.lossMs === null) return null;
  // Less time is worse: its inverse rises.
  const { warning, critical } = thresholds.lossMs;
  return nextLevel(previous, 1 / Math.max(slot.lossMs, 1), { warning: 1 / warning, critical: 1 / critical });
}

export function levelsOf(alerts: readonly HealthAlert[]): AlertLevels {
  return Object.fromEntries(alerts.map(({ kind, level }) => [kind, level]));
}

/** Pure: what to log of a look: alerts that are new or have another level, and kinds that are over. */
export function alertChanges(
  previous: AlertLevels,
  alerts: readonly HealthAlert[],
): { raised: HealthAlert[]; over: AlertKind[] } {
  const now = levelsOf(alerts);
  return {
    raised: alerts.filter(({ kind, level }) => previous[kind] !== level),
    over: (Object.keys(previous) as AlertKind[]).filter((kind) => now[kind] === undefined),
  };
}
