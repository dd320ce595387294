/**
 * Statement that creates a pgoutput slot named by `$1` and returns its consistent point as `lsn`. `failover` keeps the
 * slot on standbys too, from PostgreSQL 17 on (PostgreSQL documentation, section 9.28.6 and 47.2.3 "Replication Slot
 * Synchronization").
 */
export function createSlotSql(serverVersion: number, failover: boolean): string {
  const arguments_ = failover && serverVersion >= 170_000 ? "$1, 'pgoutput', failover => true" : "$1, 'pgoutput'";
  return `SELECT lsn::text FROM pg_create_logical_replication_slot(${arguments_})`;
}
