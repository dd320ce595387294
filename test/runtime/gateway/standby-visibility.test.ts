// Contract: what a snapshot taken from a standby is judged to see and not to see of a streamed transaction is what its
// rows hold (invariants 3 and 4), whatever commits meanwhile; PostgreSQL is the oracle. What can't be judged is counted.
// SLUICE_STANDBY_SNAPSHOTS takes more.
import type { Client } from "pg";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { sourceSchema } from "../../../runtime/config";
import { exportSnapshot } from "../../../runtime/gateway/snapshot-session";
import {
  isShareable,
  judge,
  parseSnapshot,
  type SnapshotVisibility,
} from "../../../runtime/gateway/snapshot-visibility";
import { readNextXid, takeReplaySnapshot, waitForOlder } from "../../../runtime/gateway/standby-snapshot";
import { connectSource } from "../../../runtime/postgres/client";
import type { Lsn } from "../../../runtime/postgres/lsn";
import { until } from "../../support/conditions";
import { startPostgres, type TestPostgres } from "../../support/postgres-server";
import { startStandby, type TestStandby } from "../../support/postgres-standby";

const snapshotsMax = Number(process.env.SLUICE_STANDBY_SNAPSHOTS ?? 150);
let primary: TestPostgres;
let standby: TestStandby;
let version = 0;
const settings = { max_prepared_transactions: "10" };

beforeAll(async () => {
  primary = await startPostgres({ settings });
  const client = await primary.client();
  version = Number((await client.query("SHOW server_version_num")).rows[0].server_version_num);
  if (version >= 160_000) {
    await client.query(`
      CREATE TABLE truth (xid int8 PRIMARY KEY, writer int, n int); CREATE TABLE other (n int);
      CREATE PUBLICATION p FOR TABLE truth`);
    await client.query("SELECT pg_create_logical_replication_slot('oracle', 'pgoutput')");
    standby = await startStandby(primary, { settings });
  }
  await client.end();
});
afterAll(async () => {
  await standby?.stop();
  await primary?.stop();
});

const insert = (writer: number, n: number) =>
  `INSERT INTO truth VALUES (pg_current_xact_id()::text::int8, ${writer}, ${n})`;

/** Every form in which a transaction can come to its end, one after the other. */
async function write(client: Client, writer: number, isOver: () => boolean): Promise<void> {
  await client.query(`SET synchronous_commit = ${writer % 2 === 0 ? "on" : "off"}`);
  for (let n = 0; !isOver(); n++) {
    switch (n % 6) {
      case 0:
      case 1:
        await client.query(insert(writer, n));
        break;
      case 2:
        await client.query(
          `BEGIN; SAVEPOINT a; INSERT INTO other VALUES (1); ROLLBACK TO a; ${insert(writer, n)}; COMMIT`,
        );
        break;
      case 3:
        await client.query(`BEGIN; ${insert(writer, n)}; ROLLBACK`);
        break;
      case 4:
        await client.query(`BEGIN; ${insert(writer, n)}; SAVEPOINT b; INSERT INTO other VALUES (2); RELEASE b`);
        await client.query("INSERT INTO other SELECT n FROM generate_series(1, 200) n");
        await client.query("COMMIT");
        break;
      default:
        await client.query(`BEGIN; ${insert(writer, n)}; PREPARE TRANSACTION 'w${writer}'`);
        await client.query(`COMMIT PREPARED 'w${writer}'`);
    }
  }
}

interface Taken {
  visibility: SnapshotVisibility;
  seen: Set<string>;
}

/** @param from lower ids had all ended before, so that every snapshot sees them */
async function seenXids(client: Client, from: string): Promise<Set<string>> {
  const { rows } = await client.query<{ xid: string }>("SELECT xid::text FROM public.truth WHERE xid >= $1", [from]);
  return new Set(rows.map(({ xid }) => xid));
}

/** The commits of all transactions as pgoutput tells them: id, and where the commit record begins. */
async function streamed(client: Client): Promise<{ xid: number; commitLsn: Lsn }[]> {
  const { rows } = await client.query<{ data: Buffer }>(
    `SELECT data FROM pg_logical_slot_get_binary_changes('oracle', NULL, NULL, 'proto_version', '1', 'publication_names', 'p')
      WHERE get_byte(data, 0) = ascii('B')`,
  );
  return rows.map(({ data }) => ({ xid: data.readUInt32BE(17), commitLsn: data.readBigUInt64BE(1) as Lsn }));
}

describe("a standby's snapshot", () => {
  it("is judged as it is, under load", async ({ skip }) => {
    if (version < 160_000) skip("PostgreSQL 16 decodes on a standby");
    const client = await connectSource(sourceSchema.parse(standby.source()));
    const joined = await connectSource(sourceSchema.parse(standby.source()));
    const oracle = await primary.client();
    await until("the table is replayed", () =>
      client.query("SELECT FROM public.truth").then(
        () => true,
        () => false,
      ),
    );
    let over = false;
    const writing = Promise.all(
      [0, 1, 2, 3].map(async (writer) => {
        const session = await primary.client();
        await write(session, writer, () => over).finally(() => session.end());
      }),
    );
    const counts = { seen: 0, unseen: 0, unknown: 0 };
    let whole = 0;
    let shared = 0;
    try {
      for (let first = 0; first < snapshotsMax; first += 25) {
        const taken: Taken[] = [];
        const { xmin } = (await client.query("SELECT pg_snapshot_xmin(pg_current_snapshot())::text AS xmin")).rows[0];
        for (let n = first; n < Math.min(first + 25, snapshotsMax); n++) {
          await client.query("BEGIN");
          const attempts = n % 2 === 0 ? 1 : undefined;
          const visibility = await takeReplaySnapshot(client, "LOCK TABLE public.truth IN ACCESS SHARE MODE", attempts);
          if (visibility?.replay == null) throw new Error("promoted");
          if (visibility.replay.seenBelowLsn === visibility.replay.unseenFromLsn) whole++;
          const exported = isShareable(visibility) ? await exportSnapshot(client) : null;
          const seen = await seenXids(client, xmin);
          taken.push({ visibility, seen });
          if (exported !== null) {
            await joined.query("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY");
            await joined.query(`SET TRANSACTION SNAPSHOT '${exported}'`);
            expect(await seenXids(joined, xmin)).toEqual(seen);
            await joined.query("COMMIT");
            shared++;
          }
          await client.query("COMMIT");
        }
        const last = taken[taken.length - 1].visibility.horizonLsn;
        await until("the last snapshot is behind", async () => {
          const { rows } = await oracle.query("SELECT pg_current_wal_flush_lsn() > $1::pg_lsn AS passed", [text(last)]);
          return rows[0].passed;
        });
        const commits = await streamed(oracle);
        for (const snapshot of taken) check(commits, BigInt(xmin), snapshot, counts);
      }
    } finally {
      over = true;
      await writing;
      await Promise.all([client, joined, oracle].map((session) => session.end()));
    }
    console.log(`${snapshotsMax} snapshots, ${whole} whole, ${shared} shared: ${JSON.stringify(counts)}`);
    expect(counts.seen).toBeGreaterThan(snapshotsMax);
    expect(counts.unseen).toBeGreaterThan(snapshotsMax);
    expect(counts.unknown).toBeLessThan(snapshotsMax);
    expect(whole).toBeGreaterThan(0);
  });

  it("is waited for until all have ended that had written anything when it was asked for", async ({ skip }) => {
    if (version < 160_000) skip("PostgreSQL 16 decodes on a standby");
    const client = await connectSource(sourceSchema.parse(standby.source()));
    const [older, younger] = [await primary.client(), await primary.client()];
    const { rows } = await older
      .query<{ xid: string }>("BEGIN; SELECT pg_current_xact_id()::text AS xid")
      .then((results) => (results as unknown as { rows: { xid: string }[] }[])[1]);
    await younger.query("INSERT INTO other VALUES (0)");
    // The trap: a transaction that has written is younger than all that have ended, so xmax is below it.
    await older.query(insert(9, 0));
    const replayed = async () => {
      const { lsn } = (await younger.query("SELECT pg_current_wal_insert_lsn()::text AS lsn")).rows[0];
      await younger.query("INSERT INTO other VALUES (0)");
      await until("it is replayed", async () => {
        const done = await client.query("SELECT pg_last_wal_replay_lsn() >= $1::pg_lsn AS done", [lsn]);
        return done.rows[0].done;
      });
    };
    await replayed();
    const bound = await readNextXid(client);
    expect(bound).toBeGreaterThan(BigInt(rows[0].xid));
    const { signal } = new AbortController();
    const waits: (string | undefined)[] = [];
    const options = { signal, onWait: (waitingFor: string | undefined) => waits.push(waitingFor) };
    await expect(waitForOlder(client, bound, { ...options, waitMsMax: 100 })).rejects.toThrow(rows[0].xid);
    const waiting = waitForOlder(client, bound, { ...options, waitMsMax: 20_000 });
    await older.query("COMMIT");
    await waiting;
    expect(waits.at(-1)).toBeUndefined();
    const { snapshot } = (await client.query("SELECT pg_current_snapshot()::text AS snapshot")).rows[0];
    expect(parseSnapshot(snapshot, 0n as Lsn).xmin).toBeGreaterThanOrEqual(bound);
    await Promise.all([client, older, younger].map((session) => session.end()));
  });
});

const text = (lsn: Lsn) => `${(lsn >> 32n).toString(16)}/${(lsn & 0xffffffffn).toString(16)}`;

function check(
  commits: { xid: number; commitLsn: Lsn }[],
  from: bigint,
  { visibility, seen }: Taken,
  counts: Record<"seen" | "unseen" | "unknown", number>,
): void {
  for (const { xid, commitLsn } of commits) {
    const judgement = judge(visibility, xid, commitLsn);
    counts[judgement]++;
    if (judgement === "unknown") continue;
    const isRight = (seen.has(String(xid)) || BigInt(xid) < from) === (judgement === "seen");
    if (!isRight) expect({ xid, commitLsn: text(commitLsn), judgement, visibility }).toBe("the other");
  }
}
