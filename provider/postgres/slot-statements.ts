import { setTimeout as pause } from "node:timers/promises";
import type { Client } from "pg";
import type { SourceConfig } from "../../runtime/config";
import { SluiceError } from "../../runtime/errors";
import { toSourceError } from "../../runtime/postgres/client";
import { quoteLiteral } from "../../runtime/postgres/identifier";
import { readServerVersion } from "../../runtime/postgres/server-version";
import { createSlotSql, standbySlotRemedy } from "../../runtime/postgres/slot-creation";
import { withAdmin } from "./admin-session";
import { describeTransaction, readOpenTransactions } from "./open-transactions";
import { isInRecovery } from "./preflight";

export interface SlotFacts {
  plugin: string | null;
  database: string | null;
  activePid: number | null;
  /** reserved, extended, unreserved or lost */
  walStatus: string | null;
  /** whether standbys keep it too; null before PostgreSQL 17 */
  failover: boolean | null;
  /** it goes with the session that made it */
  temporary: boolean;
  /** null before PostgreSQL 17 */
  invalidationReason: string | null;
  /** as text; null of a physical one */
  confirmedFlushLsn: string | null;
  /** who reads it: application name and address, where the role may see them */
  reader: string | null;
}

// Columns of later versions, through JSON.
const slotFactsSql = `
  SELECT s.slot_name AS name, s.plugin, s.database, s.active_pid AS "activePid", s.wal_status AS "walStatus", s.temporary,
         (to_jsonb(s) ->> 'failover')::boolean AS failover, to_jsonb(s) ->> 'invalidation_reason' AS "invalidationReason",
         s.confirmed_flush_lsn::text AS "confirmedFlushLsn",
         nullif(concat_ws(' at ', nullif(a.application_name, ''), host(a.client_addr)), '') AS reader
    FROM pg_catalog.pg_replication_slots s LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = s.active_pid`;

export async function readSlotFacts(client: Client, name: string): Promise<SlotFacts | null> {
  const { rows } = await client.query<SlotFacts>(`${slotFactsSql} WHERE s.slot_name = $1`, [name]);
  return rows[0] ?? null;
}

/** Of the whole server. */
export async function listSlots(client: Client): Promise<(SlotFacts & { name: string })[]> {
  const { rows } = await client.query<SlotFacts & { name: string }>(`${slotFactsSql} ORDER BY s.slot_name`);
  return rows;
}

export function dropSlotSql(name: string): string {
  return `SELECT pg_drop_replication_slot(${quoteLiteral(name)})`;
}

/**
 * Creates a pgoutput slot; returns its consistent point as text. It waits for every transaction that is open now to
 * end, at most `timeoutMs`; then it says who blocks, and nothing half-made is left.
 * @throws SluiceError `timeout`, `name-taken`, `source-setting` (no free slot), `permission`
 */
export async function createSlot(
  source: SourceConfig,
  name: string,
  timeoutMs: number,
  failover = false,
): Promise<string> {
  const doing = `creating replication slot ${name}`;
  // The wait obeys lock_timeout; statement_timeout bounds the rest, and a wait for many transactions in turn.
  return withAdmin(
    source,
    doing,
    async (client) => {
      const { rows: own } = await client.query<{ pid: number }>(
        "SELECT pg_backend_pid() AS pid, set_config('lock_timeout', $1, false)",
        [String(timeoutMs)],
      );
      const deadline = setTimeout(() => void cancel(source, own[0].pid), timeoutMs + 2_000);
      try {
        const sql = createSlotSql(await readServerVersion(client), failover);
        if (await isInRecovery(client)) console.log(`replication slot ${name}: ${standbySlotRemedy}`);
        const { rows } = await client.query<{ lsn: string }>(sql, [name]);
        return rows[0].lsn;
      } catch (error) {
        const failure = toSourceError(error, doing, source);
        // object_not_in_prerequisite_state: nothing is lost of what isn't made.
        if (failure.kind === "slot-lost") throw walLevelTooLow(failure);
        throw failure.kind === "timeout" ? await explainTimeout(client, name, timeoutMs, failure) : failure;
      } finally {
        clearTimeout(deadline);
      }
    },
    { statementTimeoutMs: timeoutMs + 1_000 },
  );
}

async function cancel(source: SourceConfig, pid: number): Promise<void> {
  await withAdmin(source, "cancelling slot creation", (client) =>
    client.query("SELECT pg_cancel_backend($1)", [pid]),
  ).catch(() => {});
}

function walLevelTooLow(cause: SluiceError): SluiceError {
  return new SluiceError("source-setting", cause.message, {
    remedy:
      "Set wal_level = 'logical' on the server and restart it; a standby needs it on its primary too, and replays that change first.",
    sqlState: cause.sqlState,
    cause,
  });
}

async function explainTimeout(client: Client, name: string, timeoutMs: number, cause: SluiceError) {
  const isStandby = await isInRecovery(client);
  const blockers = isStandby ? [] : await readOpenTransactions(client, 5);
  // A slot whose creation fails is dropped by the server; one that is there all the same, and idle, is our own.
  const left = await readSlotFacts(client, name);
  if (left !== null && left.activePid === null) await client.query(dropSlotSql(name));
  const who = blockers.map(describeTransaction);
  const pids = blockers.flatMap((blocker) => blocker.pid ?? []);
  return new SluiceError(
    "timeout",
    `replication slot ${name} could not be created within ${timeoutMs} ms: it waits for ${isStandby ? "a record of the primary and " : ""}every open transaction to end${who.length === 0 ? "" : `\n  ${who.join("\n  ")}`}`,
    {
      remedy: isStandby
        ? `${standbySlotRemedy} Then run pulumi up again; or raise createTimeoutMs.`
        : `End the oldest transaction${pids.length === 0 ? "" : `, or run SELECT pg_terminate_backend(${pids[0]})`}, then run pulumi up again; or raise createTimeoutMs.`,
      sqlState: cause.sqlState,
      cause,
    },
  );
}

/**
 * Ends the slot's consumer, drops the slot and verifies that it is gone. A slot that is gone already is success.
 * @throws SluiceError `slot-in-use` when the consumer comes back until the deadline
 */
export async function removeSlot(client: Client, name: string, timeoutMs: number): Promise<void> {
  const deadline = Date.now() + timeoutMs;
  for (;;) {
    const slot = await readSlotFacts(client, name);
    if (slot === null) return;
    if (slot.activePid === null) {
      try {
        await client.query("SELECT pg_drop_replication_slot($1)", [name]);
      } catch (error) {
        const failure = toSourceError(error, `dropping replication slot ${name}`);
        // Taken again, or dropped by another, since we looked.
        if (failure.kind !== "slot-in-use" && failure.kind !== "missing-object") throw failure;
      }
    } else {
      await client.query("SELECT pg_terminate_backend($1)", [slot.activePid]);
      await pause(50);
    }
    if (Date.now() > deadline) {
      const holder = (await readSlotFacts(client, name))?.activePid;
      if (holder === undefined) return;
      throw new SluiceError(
        "slot-in-use",
        `replication slot ${name} is still held by pid ${holder} after ${timeoutMs} ms`,
        {
          remedy:
            "Stop the consumer that keeps reconnecting (pg_stat_replication names it), then run the delete again.",
        },
      );
    }
  }
}
