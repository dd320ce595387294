import type { TableMode } from "./table-options";

/**
 * The status document: the only thing that the runtime tells the provider and the operator.
 * Written as a whole to `statusPath` and served at `/status`; LSNs as text, times as ISO 8601, durations in ms.
 */
export type ProcessState =
  | { kind: "starting" }
  | { kind: "running" }
  | { kind: "waiting"; reason: string }
  | { kind: "stopping" }
  | { kind: "stopped" }
  | { kind: "failed"; errorKind: string; message: string; remedy?: string };

/** `sluice health --json` prints it as one line. */
export interface HealthReport {
  healthy: boolean;
  /** null: the process has written no status yet */
  state: ProcessState | null;
}

interface ProcessStatus {
  id: string;
  /** the package's version */
  version: string;
  pid: number;
  startedAt: string;
  updatedAt: string;
  httpPort: number | null;
  state: ProcessState;
}

export type GatewayTableState =
  | { kind: "pending"; waitingFor?: string }
  | {
      kind: "snapshot";
      /** copied so far, and bytes of their files */
      rows: number;
      bytes: number;
      rowsEstimate: number;
      startedAt: string;
      /** ranges of the table: a small one has one */
      rangesDone: number;
      ranges: number;
      /** until all is copied, at the speed so far; null while there is none */
      secondsLeft: number | null;
      /** why it doesn't start or go on: sessions to wait for, a failure that is tried again */
      waitingFor?: string;
    }
  | { kind: "streaming" }
  | { kind: "failed"; message: string; remedy?: string };

export interface GatewayTableStatus {
  tableId: string;
  schema: string;
  name: string;
  state: GatewayTableState;
  snapshotRows: number;
  /** how many snapshots of it this deployment has staged: 1 in a quiet life */
  snapshots: number;
  /** why the table was to be copied again, the last time; absent in a quiet life */
  snapshotReason?: string;
  inserts: number;
  updates: number;
  deletes: number;
  /**
   * values that the destination's type can't hold, staged as NULL, by column name; of a large transaction those too that
   * a subtransaction had which was rolled back
   */
  unrepresentable: Record<string, number>;
}

export interface SlotHealth {
  active: boolean;
  restartLsn: string | null;
  confirmedFlushLsn: string | null;
  /** pg_replication_slots.wal_status: reserved, extended, unreserved, lost */
  walStatus: string | null;
  safeWalBytes: number | null;
  /** WAL kept on the server for this slot */
  retainedBytes: number | null;
  /** why the server gave it up, as `wal_removed`; PostgreSQL 17 and newer, else null */
  invalidationReason: string | null;
  /** whether it conflicts with recovery on a standby; PostgreSQL 16 and newer, else null */
  conflicting: boolean | null;
  /** PostgreSQL 17 and newer, else null; null while it is read */
  inactiveSince: string | null;
  /** whether it is kept on standbys too, and whether it is such a copy; PostgreSQL 17 and newer, else null */
  failover: boolean | null;
  synced: boolean | null;
  /** projected time until the server gives it up; null when it doesn't come nearer */
  lossMs: number | null;
}

/** An open transaction from whose start on the server keeps WAL for the slot. */
export interface HoldingTransaction {
  /** null for a prepared transaction */
  pid: number | null;
  user: string | null;
  application: string;
  /** pg_stat_activity.state, or `prepared` */
  state: string | null;
  ageMs: number;
  xid: string;
  xmin: string | null;
}

export type AlertKind = "slot-loss" | "lag" | "retained-wal" | "holding-transaction";
export type AlertLevel = "warning" | "critical";

/** Something that gets worse: it has a threshold in `health` of the configuration. */
export interface HealthAlert {
  kind: AlertKind;
  level: AlertLevel;
  message: string;
  remedy: string;
}

/** How far a standby is. `lag` is against what it has replayed. */
export interface StandbyState {
  replayedLsn: string;
  /** by its WAL receiver; null when it has none */
  receivedLsn: string | null;
  /** age of the newest transaction that it has replayed, by the primary's clock; 0 when all that was received is replayed */
  replayDelayMs: number | null;
}

export interface GatewayStatus extends ProcessStatus {
  role: "gateway";
  slot: SlotHealth | null;
  /** what isn't acknowledged yet: WAL bytes, and time since nothing was missing; null before the first look */
  lag: { bytes: number | null; ms: number | null };
  /** of a standby that is read from; null on a primary, and before the first look */
  standby: StandbyState | null;
  /** those older than 5 s, oldest first, at most five */
  holdingTransactions: HoldingTransaction[];
  /** worst first */
  alerts: HealthAlert[];
  heartbeats: number;
  /** pid of the walsender that serves us */
  walSenderPid: number | null;
  receivedLsn: string;
  stagedLsn: string;
  acknowledgedLsn: string;
  /** sequence of the newest staged commit; 0 before the first */
  stagedSequence: number;
  transactions: number;
  changes: number;
  reconnects: number;
  tables: GatewayTableStatus[];
}

/** What a reader of a table meets. */
export interface TableCondition {
  /** data files of the newest version, and their bytes */
  files: number;
  bytes: number;
  /** of them: those that compaction merges */
  smallFiles: number;
  /** part of the rows in files that is marked as deleted */
  deletedShare: number;
}

/** Of this process's life. */
export interface TableMaintenanceStatus {
  compactions: number;
  /** compactions that another writer's commit made void */
  conflicts: number;
  /** files that were written anew, as fewer or without deleted rows, and their bytes */
  filesCompacted: number;
  bytesCompacted: number;
  bytesWritten: number;
  /** files removed that no version within the retention has */
  filesVacuumed: number;
  bytesVacuumed: number;
  checkpoints: number;
  /** of the last one; null before the first */
  checkpointVersion: number | null;
  /** files of the log removed that no version within its retention needs */
  logFilesRemoved: number;
  /** when the last run ended; null before the first */
  lastRunAt: string | null;
  /** why the last run failed; null since one hasn't */
  error: string | null;
}

/**
 * A table's part in a run of the pipeline: in one run of the trigger `schedule` or `once`; with `continuous` in a minute
 * in which something was to be applied. Counts and bytes are of this run alone.
 */
export interface TableRun {
  tableId: string;
  /** of the source */
  schema: string;
  name: string;
  mode: TableMode;
  type: "delta";
  /** `interrupted`: the process ended in its midst; the table's own log tells what it had committed */
  status: "running" | "succeeded" | "failed" | "quarantined" | "interrupted";
  startedAt: string;
  endedAt: string | null;
  /** time that was spent on the table */
  durationMs: number;
  upserted: number;
  deleted: number;
  /** staged changes that it never got: a new snapshot took their place while the table was quarantined */
  dropped: number;
  /** of staged files that were applied */
  bytes: number;
  /** the staged commits that the table got, first and last, and the version that it had then; null when it got none */
  fromSequence: number | null;
  toSequence: number | null;
  deltaVersion: number | null;
  attempts: number;
  failedAttempts: number;
  failPercent: number;
  /** of the last attempt, where that failed */
  error?: { errorKind: string; message: string; remedy?: string; isQuarantined: boolean };
}

/** Staging as the applier sees it. */
export interface PurgeStatus {
  /** staged commits, and their files, that this process removed: applied, and older than the retention */
  records: number;
  files: number;
  /** oldest staged commit that is left; null before the first look */
  tail: number | null;
  /** of the files that are left, unnamed ones too; null before the first look */
  bytes: number | null;
  /** why commits that are old enough stay; null when none do */
  heldBy: string | null;
}

export interface ApplierTableStatus extends TableCondition {
  tableId: string;
  schema: string;
  name: string;
  type: "delta";
  mode: TableMode;
  state:
    | { kind: "waiting" } // its snapshot isn't complete in staging yet
    | { kind: "running" }
    | { kind: "idle" }
    | { kind: "removed" } // left the publication; its table is kept, or was dropped
    | { kind: "failed"; errorKind: string; message: string; remedy?: string; retryAt: string }
    /** as failed, but only tried again now and then: it needs somebody, or `sluice resync` */
    | { kind: "quarantined"; errorKind: string; message: string; remedy?: string; since: string };
  /** rows now in the table */
  rows: number;
  /** of this process's life and before, as recorded in the table's commits */
  upserted: number;
  deleted: number;
  /** staged changes that it never got: a new snapshot took their place while the table was quarantined */
  dropped: number;
  /** failed attempts of all attempts, in `runs` */
  failPercent: number;
  durationMs: number;
  /** its last runs, newest first, at most three; `sluice runs` tells more */
  runs: TableRun[];
  /** sequence of the last staged commit that the table holds */
  appliedSequence: number;
  maintenance: TableMaintenanceStatus;
  /** version of the Delta log */
  deltaVersion: number | null;
  path: string;
}

export interface ApplierStatus extends ProcessStatus {
  role: "applier";
  /** identity of the staging log that it applies, which its tables have too; null while it has found none */
  logId: string | null;
  /** newest staged commit seen */
  stagedSequence: number;
  /** every table holds all that is staged up to here; equal to `stagedSequence` when caught up */
  appliedSequence: number;
  /** `endLsn` of that staged commit */
  appliedLsn: string;
  /** of the trigger `schedule`: when the next run is due; else null */
  nextRunAt: string | null;
  purge: PurgeStatus;
  tables: ApplierTableStatus[];
}

export type StatusDocument = GatewayStatus | ApplierStatus;
