import type { Client } from "pg";
import { parseLsn } from "../postgres/lsn";
import type { SlotHealth } from "../status";
import type { SlotPosition } from "./start-position";

export interface SlotState {
  position: SlotPosition;
  health: SlotHealth;
  activePid: number | null;
}

/** `null` when there is no such slot in this server. */
export async function readSlot(client: Client, name: string): Promise<SlotState | null> {
  const { rows } = await client.query<{
    plugin: string | null;
    active: boolean;
    active_pid: number | null;
    restart_lsn: string | null;
    confirmed_flush_lsn: string | null;
    wal_status: string | null;
    safe_wal_size: string | null;
    retained: string | null;
  }>(
    `SELECT plugin, active, active_pid, restart_lsn::text, confirmed_flush_lsn::text, wal_status, safe_wal_size::text,
            CASE WHEN pg_is_in_recovery() THEN pg_wal_lsn_diff(pg_last_wal_replay_lsn(), restart_lsn)
                 ELSE pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn) END::text AS retained
       FROM pg_catalog.pg_replication_slots WHERE slot_name = $1`,
    [name],
  );
  const row = rows[0];
  if (row === undefined) return null;
  return {
    position: {
      name,
      plugin: row.plugin,
      walStatus: row.wal_status,
      confirmedFlushLsn: row.confirmed_flush_lsn === null ? null : parseLsn(row.confirmed_flush_lsn),
    },
    health: {
      active: row.active,
      restartLsn: row.restart_lsn,
      confirmedFlushLsn: row.confirmed_flush_lsn,
      walStatus: row.wal_status,
      safeWalBytes: row.safe_wal_size === null ? null : Number(row.safe_wal_size),
      retainedBytes: row.retained === null ? null : Number(row.retained),
    },
    activePid: row.active_pid,
  };
}
