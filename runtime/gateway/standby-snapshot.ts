import { setTimeout as delay } from "node:timers/promises";
import type { Client, QueryResult } from "pg";
import { membershipSql } from "../change/publication-membership";
import { type Lsn, lsnZero, parseLsn } from "../postgres/lsn";
import { readServerVersion } from "../postgres/server-version";
import { parseSnapshot, type ReplayWindow, type SnapshotVisibility, widen } from "./snapshot-visibility";
import { Blocked, type WaitOptions } from "./snapshot-wait";

/** A record begins at most a page header (40 bytes, XLogLongPageHeaderData) after the one before has ended. */
const pageHeaderBytesMax = 40n;

/** Where replay stood, and whether only a WAL receiver, the one with this pid, feeds it. */
interface ReplayPosition {
  replayed: string;
  received: string | null;
  receiver: number | null;
}

const positionSql = `pg_catalog.pg_last_wal_replay_lsn()::text AS replayed,
  pg_catalog.pg_last_wal_receive_lsn()::text AS received, (SELECT pid FROM pg_catalog.pg_stat_wal_receiver) AS receiver`;

/**
 * Pure: what a snapshot sees that was taken between two looks at where replay stood.
 *
 * The startup process replays one record after the other. While it replays a commit record the transaction becomes
 * visible (xact_redo_commit, ExpireTreeKnownAssignedTransactionIds); then pg_last_wal_replay_lsn() becomes the record's
 * end. So what ends at or before the first look is seen; what begins after the record that follows the second isn't. The
 * record right after the second look may have been under way, unless it hadn't even been received: the startup process
 * reads what the WAL receiver has flushed, and nothing else while the same receiver runs.
 */
export function replayWindow(before: ReplayPosition, after: ReplayPosition): ReplayWindow {
  const seenBelowLsn = parseLsn(before.replayed);
  const isStreaming = before.receiver !== null && before.receiver === after.receiver;
  const isWhole = isStreaming && after.received !== null && parseLsn(after.received) === seenBelowLsn;
  const unseenFromLsn = isWhole ? seenBelowLsn : ((parseLsn(after.replayed) + pageHeaderBytesMax + 1n) as Lsn);
  return { seenBelowLsn, unseenFromLsn };
}

/**
 * Takes a repeatable-read snapshot in recovery, with the lock before it; leaves its transaction open. All in one message,
 * so that as little as possible is replayed meanwhile; anew until the window is empty, but only so often.
 * @param lockSql statements that take the lock; they take no snapshot
 * @param attemptsMax how often it is taken for one that tells of every transaction whether it sees it
 * @returns null when the server has been promoted meanwhile
 */
export async function takeReplaySnapshot(
  client: Client,
  lockSql: string,
  attemptsMax = 20,
): Promise<SnapshotVisibility | null> {
  const sql = `SELECT ${positionSql}; COMMIT; BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; ${lockSql};
    SELECT ${positionSql}, pg_catalog.pg_current_snapshot()::text AS snapshot, pg_catalog.pg_is_in_recovery() AS recovery`;
  for (let attempt = 1; ; attempt++) {
    const results = (await client.query(sql)) as unknown as QueryResult[];
    const before = results[0].rows[0] as ReplayPosition;
    const after = results[results.length - 1].rows[0] as ReplayPosition & { snapshot: string; recovery: boolean };
    if (!after.recovery) return null;
    const window = replayWindow(before, after);
    const isWhole = window.seenBelowLsn === window.unseenFromLsn;
    if (isWhole || attempt === attemptsMax) return parseSnapshot(after.snapshot, window.unseenFromLsn, window);
  }
}

/** Up to where the server has replayed; null on a primary. */
export async function readReplayedLsn(client: Client): Promise<Lsn | null> {
  const { rows } = await client.query<{ lsn: string | null }>(
    "SELECT CASE WHEN pg_catalog.pg_is_in_recovery() THEN pg_catalog.pg_last_wal_replay_lsn() END::text AS lsn",
  );
  return rows[0].lsn === null ? null : parseLsn(rows[0].lsn);
}

/**
 * The id after the youngest one of which anything has been replayed. Not `xmax`, which is the one after the youngest that
 * has ended: age() is the only function that gives it in recovery.
 */
export async function readNextXid(client: Client): Promise<bigint> {
  const { rows } = await client.query<{ next: string; snapshot: string }>(
    `SELECT (pg_catalog.age('3'::xid)::int8 + 3)::text AS next, pg_catalog.pg_current_snapshot()::text AS snapshot`,
  );
  const { xmax } = parseSnapshot(rows[0].snapshot, lsnZero);
  return widen(Number(BigInt.asUintN(32, BigInt(rows[0].next))), xmax);
}

/** See membershipSql; null when the table isn't in the publication. */
export async function readMembership(client: Client, publication: string, tableId: string): Promise<string | null> {
  const version = await readServerVersion(client);
  const { rows } = await client.query<{ membership: string | null }>(
    `SELECT ${membershipSql(version, "$1", "$2::oid")} AS membership`,
    [publication, tableId],
  );
  return rows[0].membership;
}

/**
 * Waits until all transactions of the primary below `bound` have ended, here: what they wrote before the table was
 * published isn't streamed, so a snapshot must see it. A standby doesn't see their locks, so all are waited for.
 * @throws Blocked
 */
export async function waitForOlder(client: Client, bound: bigint, options: WaitOptions): Promise<void> {
  const deadlineMs = Date.now() + options.waitMsMax;
  for (;;) {
    options.signal.throwIfAborted();
    const { rows } = await client.query<{ snapshot: string }>(
      "SELECT pg_catalog.pg_current_snapshot()::text AS snapshot",
    );
    const { xmin } = parseSnapshot(rows[0].snapshot, lsnZero);
    if (xmin >= bound) break;
    const waitingFor = `transactions below ${bound} on the primary, the oldest is ${xmin} (there: SELECT * FROM pg_stat_activity WHERE backend_xid = '${BigInt.asUintN(32, xmin)}'; SELECT * FROM pg_prepared_xacts)`;
    options.onWait(waitingFor);
    if (Date.now() > deadlineMs) throw new Blocked(waitingFor);
    await delay(50, undefined, { signal: options.signal });
  }
  options.onWait(undefined);
}
