/**
 * Statement that creates a pgoutput slot named by `$1` and returns its consistent point as `lsn`. `failover` keeps the
 * slot on standbys too, from PostgreSQL 17 on (PostgreSQL documentation, section 9.28.6 and 47.2.3 "Replication Slot
 * Synchronization").
 */
export function createSlotSql(serverVersion: number, failover: boolean): string {
  const arguments_ = failover && serverVersion >= 170_000 ? "$1, 'pgoutput', failover => true" : "$1, 'pgoutput'";
  return `SELECT lsn::text FROM pg_create_logical_replication_slot(${arguments_})`;
}

/**
 * On a standby a slot begins at a record of the primary's running transactions, which a checkpoint writes, and within
 * 15 s after changes the background writer (PostgreSQL documentation, section 47.2.2 "Replication Slots").
 */
export const standbySlotRemedy =
  "On a standby a slot waits for a record of the primary: run SELECT pg_log_standby_snapshot() on the primary, twice while transactions run that are older, and end those that run long.";
