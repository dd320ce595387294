import type { Client } from "pg";
import { type Lsn, parseLsn } from "../postgres/lsn";
import type { SlotHealth, StandbyState } from "../status";
import type { SlotPosition } from "./start-position";

export interface SlotState {
  position: SlotPosition;
  /** without what needs more than one look */
  health: Omit<SlotHealth, "lossMs">;
  activePid: number | null;
}

export interface ServerState {
  /** end of the WAL that can be streamed now: flushed on a primary, replayed on a standby */
  walLsn: Lsn;
  inRecovery: boolean;
  /** as 180004 */
  version: number;
  walWriterDelayMs: number;
  /** null on a primary */
  standby: StandbyState | null;
  /** null when there is no such slot in this server */
  slot: SlotState | null;
}

/**
 * Server and slot as they are now. The slot's row is read as JSON because its columns differ by version: `conflicting`
 * since 16; `invalidation_reason`, `inactive_since`, `failover` and `synced` since 17 (PostgreSQL documentation,
 * section 53.20 "pg_replication_slots").
 */
export async function readServerState(client: Client, name: string): Promise<ServerState> {
  const { rows } = await client.query<{
    wal: string;
    recovery: boolean;
    delay: number;
    version: number;
    received: string | null;
    behind: number | null;
    retained: string | null;
    slot: Record<string, string | number | boolean | null> | null;
  }>(
    `SELECT now.wal::text, now.recovery, current_setting('server_version_num')::int AS version,
            pg_last_wal_receive_lsn()::text AS received,
            CASE WHEN pg_last_wal_receive_lsn() = now.wal THEN 0
                 ELSE extract(epoch FROM clock_timestamp() - pg_last_xact_replay_timestamp()) * 1000 END::float8 AS behind,
            (SELECT setting::int FROM pg_catalog.pg_settings WHERE name = 'wal_writer_delay') AS delay, pg_wal_lsn_diff(now.wal, s.restart_lsn)::text AS retained, to_jsonb(s) AS slot
       FROM (SELECT pg_is_in_recovery() AS recovery,
                    CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_flush_lsn() END AS wal) now
       LEFT JOIN pg_catalog.pg_replication_slots s ON s.slot_name = $1`,
    [name],
  );
  const { wal, recovery, version, delay, received, behind, retained, slot } = rows[0];
  return {
    walLsn: parseLsn(wal),
    inRecovery: recovery,
    version,
    walWriterDelayMs: delay,
    standby: recovery
      ? { replayedLsn: wal, receivedLsn: received, replayDelayMs: behind === null ? null : Math.round(behind) }
      : null,
    slot: slot === null ? null : slotState(name, slot, retained),
  };
}

function slotState(
  name: string,
  slot: Record<string, string | number | boolean | null>,
  retained: string | null,
): SlotState {
  const text = (column: string) => (slot[column] === undefined ? null : (slot[column] as string | null));
  const flag = (column: string) => (slot[column] === undefined ? null : (slot[column] as boolean | null));
  const confirmedFlushLsn = text("confirmed_flush_lsn");
  const invalidationReason = text("invalidation_reason");
  const walStatus = text("wal_status");
  return {
    position: {
      name,
      plugin: text("plugin"),
      database: text("database"),
      walStatus,
      invalidationReason,
      conflicting: flag("conflicting") === true,
      confirmedFlushLsn: confirmedFlushLsn === null ? null : parseLsn(confirmedFlushLsn),
    },
    health: {
      active: slot.active === true,
      restartLsn: text("restart_lsn"),
      confirmedFlushLsn,
      walStatus,
      safeWalBytes: slot.safe_wal_size === null ? null : Number(slot.safe_wal_size),
      retainedBytes: retained === null ? null : Number(retained),
      invalidationReason,
      conflicting: flag("conflicting"),
      inactiveSince: text("inactive_since"),
      failover: flag("failover"),
      synced: flag("synced"),
    },
    activePid: slot.active_pid as number | null,
  };
}
