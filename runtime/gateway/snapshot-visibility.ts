import type { Lsn } from "../postgres/lsn";

/**
 * What a repeatable-read snapshot sees (PostgreSQL documentation, section 9.27.6 and table 9.85): transactions below
 * `xmin`, and those below `xmax` that aren't in `running`. Ids are 64 bits wide here, 32 in the stream.
 */
export interface SnapshotVisibility {
  xmin: bigint;
  xmax: bigint;
  running: ReadonlySet<bigint>;
  /** WAL insert position read after the snapshot was taken: whatever commits later is not in it */
  horizonLsn: Lsn;
}

/** @param text pg_current_snapshot()::text: `xmin:xmax:xip,xip` */
export function parseSnapshot(text: string, horizonLsn: Lsn): SnapshotVisibility {
  const [xmin, xmax, running] = text.split(":");
  return {
    xmin: BigInt(xmin),
    xmax: BigInt(xmax),
    running: new Set(running === "" ? [] : running.split(",").map(BigInt)),
    horizonLsn,
  };
}

/** Whether the snapshot sees the transaction with this 32-bit id, supposed it has committed. */
export function isVisible(snapshot: SnapshotVisibility, xid: number): boolean {
  const full = widen(xid, snapshot.xmax);
  if (full < snapshot.xmin) return true;
  return full < snapshot.xmax && !snapshot.running.has(full);
}

/** The 64-bit id nearest to `near` with these low 32 bits: two live ids are never 2^31 apart. */
function widen(xid: number, near: bigint): bigint {
  const candidate = (near & ~0xffffffffn) | BigInt(xid);
  if (candidate > near + 0x80000000n) return candidate - 0x100000000n;
  if (candidate < near - 0x80000000n) return candidate + 0x100000000n;
  return candidate;
}

/**
 * Whether a streamed transaction is already in the snapshot's rows. By id, not by LSN: a transaction can commit before
 * the snapshot is taken and still be unseen by it. Beyond the horizon the question needs no look at the id.
 */
export function isInSnapshot(snapshot: SnapshotVisibility, xid: number, commitLsn: Lsn): boolean {
  return commitLsn <= snapshot.horizonLsn && isVisible(snapshot, xid);
}
