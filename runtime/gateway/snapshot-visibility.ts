import type { Lsn } from "../postgres/lsn";

/**
 * What a repeatable-read snapshot sees (PostgreSQL documentation, section 9.27.6 and table 9.85): transactions below
 * `xmin`, and those below `xmax` that aren't in `running`. Ids are 64 bits wide here, 32 in the stream.
 */
export interface SnapshotVisibility {
  xmin: bigint;
  xmax: bigint;
  /** empty in recovery, where the list is kept apart: then `replay` tells */
  running: ReadonlySet<bigint>;
  /** WAL position from which on nothing is in it: read after the snapshot was taken, or the window's end */
  horizonLsn: Lsn;
  /** of a snapshot that a standby has taken; else null */
  replay: ReplayWindow | null;
}

/** What a standby's snapshot sees, by the LSN at which a transaction's commit record starts. */
export interface ReplayWindow {
  /** below it: seen */
  seenBelowLsn: Lsn;
  /** from it on: not seen; between the two nobody can tell */
  unseenFromLsn: Lsn;
}

/**
 * What a snapshot holds of a streamed transaction.
 * `seen`: its rows have all of it; `unseen`: nothing of it; `unknown`: one or the other
 */
export type Judgement = "seen" | "unseen" | "unknown";

/** @param text pg_current_snapshot()::text: `xmin:xmax:xip,xip` */
export function parseSnapshot(text: string, horizonLsn: Lsn, replay: ReplayWindow | null = null): SnapshotVisibility {
  const [xmin, xmax, running] = text.split(":");
  return {
    xmin: BigInt(xmin),
    xmax: BigInt(xmax),
    running: new Set(running === "" ? [] : running.split(",").map(BigInt)),
    horizonLsn,
    replay,
  };
}

/**
 * Whether the snapshot is known to see the transaction with this 32-bit id, supposed it has committed. Of a standby's
 * snapshot only those are known by their id that are older than all that ran.
 */
export function isVisible(snapshot: SnapshotVisibility, xid: number): boolean {
  const full = widen(xid, snapshot.xmax);
  if (full < snapshot.xmin) return true;
  return snapshot.replay === null && full < snapshot.xmax && !snapshot.running.has(full);
}

/**
 * Whether others that join the exported snapshot see the same. In recovery the list of running transactions is kept as
 * one of subtransactions, and ExportSnapshot() leaves that out once it has overflowed ("sof:1"), as it does after any
 * subtransaction with wal_level = logical: who joins then sees what has ended since. Without a need of the list it's exact.
 */
export function isShareable({ replay, xmin, xmax }: SnapshotVisibility): boolean {
  return replay === null || xmin === xmax;
}

/** The 64-bit id nearest to `near` with these low 32 bits: two live ids are never 2^31 apart. */
export function widen(xid: number, near: bigint): bigint {
  const candidate = (near & ~0xffffffffn) | BigInt(xid);
  if (candidate > near + 0x80000000n) return candidate - 0x100000000n;
  if (candidate < near - 0x80000000n) return candidate + 0x100000000n;
  return candidate;
}

/**
 * Whether a streamed transaction is already in the snapshot's rows. On a primary by id, not by LSN: a transaction can
 * commit before the snapshot is taken and still be unseen by it. Beyond the horizon the question needs no look at the id.
 * On a standby by LSN: there a transaction becomes visible while its commit record is replayed, one after the other; the
 * one that may have been under way is in the window. An id that is too young excludes it there too; one that is old
 * enough to be seen proves nothing, as what is seen must lie before `seenBelowLsn` (a snapshot's end is staged there).
 * @param commitLsn start of its commit record
 */
export function judge(snapshot: SnapshotVisibility, xid: number, commitLsn: Lsn): Judgement {
  const { replay, horizonLsn, xmax } = snapshot;
  if (replay === null) return commitLsn <= horizonLsn && isVisible(snapshot, xid) ? "seen" : "unseen";
  if (commitLsn < replay.seenBelowLsn) return "seen";
  if (commitLsn >= replay.unseenFromLsn || widen(xid, xmax) >= xmax) return "unseen";
  return "unknown";
}
