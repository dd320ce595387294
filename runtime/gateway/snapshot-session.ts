import { setTimeout as delay } from "node:timers/promises";
import type { Client } from "pg";
import { type CatalogTable, readTableSchemas } from "../change/catalog";
import type { TypeOptions } from "../config";
import { SluiceError } from "../errors";
import { quoteTable } from "../postgres/identifier";
import { isLockNotAvailable } from "../postgres/lock-timeout";
import { parseLsn } from "../postgres/lsn";
import { sqlStateOf } from "../postgres/source-error";
import { parseSnapshot, type SnapshotVisibility } from "./snapshot-visibility";
import { Blocked, type WaitOptions } from "./snapshot-wait";
import { takeReplaySnapshot } from "./standby-snapshot";
import { type PartFacts, readParts } from "./table-parts";
import { readTableWriters, stillWriting } from "./writers-of-table";

/** A repeatable-read transaction in which a table is copied; its lock on the table is older than its snapshot. */
export interface OpenedSnapshot {
  table: CatalogTable;
  parts: PartFacts[];
  visibility: SnapshotVisibility;
}

const undefinedTable = "42P01";
/** How long we stand in the queue for a lock at a time: whoever comes after us stands behind us. */
const lockTimeoutMs = 1_000;

/** A role's own timeouts would end a long copy, or a session that waits for others at its end. */
async function freeOfTimeouts(client: Client): Promise<void> {
  await client.query("SET statement_timeout = 0; SET idle_in_transaction_session_timeout = 0");
  // transaction_timeout came with PostgreSQL 17.
  await client.query(
    "SELECT pg_catalog.set_config(name, '0', false) FROM pg_catalog.pg_settings WHERE name = 'transaction_timeout'",
  );
}

/** Waits until all transactions that now write to the table have ended. */
export async function waitForWriters(client: Client, tableId: string, options: WaitOptions): Promise<void> {
  const deadlineMs = Date.now() + options.waitMsMax;
  let writers = await readTableWriters(client, tableId);
  while (writers.length > 0) {
    options.signal.throwIfAborted();
    const pids = writers.map(({ pid }) => (pid === null ? "a prepared transaction" : `pid ${pid}`)).join(", ");
    const waitingFor = `transactions that write to it: ${pids}`;
    options.onWait(waitingFor);
    if (Date.now() > deadlineMs) throw new Blocked(waitingFor);
    await delay(50, undefined, { signal: options.signal });
    writers = stillWriting(writers, await readTableWriters(client, tableId));
  }
  options.onWait(undefined);
}

/**
 * Begins the transaction and locks the table and its partitions; the snapshot is taken by `takeSnapshot`. The order
 * matters: TRUNCATE and statements that rewrite a table aren't MVCC-safe (PostgreSQL documentation, section 13.6): to a
 * snapshot older than they, the table is empty. LOCK TABLE takes no snapshot.
 * @returns what was locked; null when there is no such table
 * @throws Blocked
 */
export async function beginLocked(client: Client, tableId: string, options: WaitOptions): Promise<TablePlace | null> {
  await freeOfTimeouts(client);
  const deadlineMs = Date.now() + options.waitMsMax;
  for (;;) {
    options.signal.throwIfAborted();
    const place = await placeOf(client, tableId);
    if (place === null) return null;
    await client.query("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY");
    try {
      await client.query(lockSql(place));
      options.onWait(undefined);
      return place;
    } catch (error) {
      if (!isLockRefused(error)) throw error;
      await client.query("ROLLBACK");
      const holders = await lockHolders(client, tableId);
      const waitingFor = `a lock on it: ${holders.length === 0 ? "its holder has just ended" : holders.join(", ")}`;
      options.onWait(waitingFor);
      if (Date.now() > deadlineMs) throw new Blocked(waitingFor);
    }
    await delay(100, undefined, { signal: options.signal });
  }
}

export type Taken =
  | { kind: "taken"; snapshot: OpenedSnapshot }
  /** it was renamed before it was locked, so that another table is; or the server has just been promoted */
  | { kind: "again" }
  | { kind: "unpublished" };

/** Takes the snapshot of a transaction that `beginLocked` has begun. */
export async function takeSnapshot(
  client: Client,
  tableId: string,
  place: TablePlace,
  published: { publication: string; types: TypeOptions },
): Promise<Taken> {
  const visibility = place.inRecovery ? await takeInRecovery(client, place) : await takeOnPrimary(client);
  if (visibility === null || !(await isSamePlace(client, tableId, place))) return { kind: "again" };
  const [table] = await readTableSchemas(client, published.publication, published.types, tableId);
  if (table === undefined) return { kind: "unpublished" };
  const parts = await readParts(client, tableId);
  return { kind: "taken", snapshot: { table, parts, visibility } };
}

async function takeOnPrimary(client: Client): Promise<SnapshotVisibility> {
  // The snapshot is taken before its functions run, so the horizon is read after it.
  const { rows } = await client.query<{ snapshot: string; horizon: string }>(
    `SELECT pg_catalog.pg_current_snapshot()::text AS snapshot,
            pg_catalog.pg_current_wal_insert_lsn()::text AS horizon`,
  );
  return parseSnapshot(rows[0].snapshot, parseLsn(rows[0].horizon));
}

/** null when the lock, let go for a moment, isn't to be had, or there is no recovery any more. */
async function takeInRecovery(client: Client, place: TablePlace): Promise<SnapshotVisibility | null> {
  try {
    return await takeReplaySnapshot(client, lockSql(place));
  } catch (error) {
    if (isLockRefused(error)) return null;
    throw error;
  }
}

async function isSamePlace(client: Client, tableId: string, { schema, name }: TablePlace): Promise<boolean> {
  const { rows } = await client.query<{ same: boolean }>(
    `SELECT EXISTS (
       SELECT FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
        WHERE c.oid = $1::oid AND n.nspname = $2 AND c.relname = $3) AS same`,
    [tableId, schema, name],
  );
  return rows[0].same;
}

/** Both in one, where nothing comes between them. */
export async function openSnapshot(
  client: Client,
  tableId: string,
  published: { publication: string; types: TypeOptions },
  options: WaitOptions,
): Promise<OpenedSnapshot | null> {
  for (;;) {
    const place = await beginLocked(client, tableId, options);
    if (place === null) return null;
    const taken = await takeSnapshot(client, tableId, place, published);
    if (taken.kind === "taken") return taken.snapshot;
    await client.query("ROLLBACK");
    if (taken.kind === "unpublished") return null;
  }
}

export interface TablePlace {
  schema: string;
  name: string;
  partitioned: boolean;
  /** of the server, when the table was looked up */
  inRecovery: boolean;
}

async function placeOf(client: Client, tableId: string): Promise<TablePlace | null> {
  const { rows } = await client.query<TablePlace & { kind: string; hasColumns: boolean }>(
    `SELECT n.nspname AS schema, c.relname AS name, c.relkind = 'p' AS partitioned, c.relkind::text AS kind,
            pg_catalog.pg_is_in_recovery() AS "inRecovery",
            EXISTS (SELECT FROM pg_catalog.pg_attribute a
                     WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped) AS "hasColumns"
       FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = $1::oid`,
    [tableId],
  );
  if (rows.length === 0) return null;
  const [{ kind, hasColumns, ...place }] = rows;
  if (kind !== "r" && kind !== "p") {
    throw new SluiceError(
      "unsupported",
      `${quoteTable(place)} is neither a table nor a partitioned table (relkind ${kind})`,
      {
        remedy: "Take it out of the publication, and publish the tables that it reads.",
      },
    );
  }
  if (!hasColumns) {
    throw new SluiceError("unsupported", `${quoteTable(place)} has no columns, so that nothing of its rows is sent`, {
      remedy: "Give it a column, or take it out of the publication.",
    });
  }
  return place;
}

function lockSql(place: Omit<TablePlace, "inRecovery">): string {
  const lock = `LOCK TABLE ${place.partitioned ? "" : "ONLY "}${quoteTable(place)} IN ACCESS SHARE MODE`;
  return `SET LOCAL lock_timeout = ${lockTimeoutMs}; ${lock}; SET LOCAL lock_timeout = 0`;
}

function isLockRefused(error: unknown): boolean {
  return isLockNotAvailable(error) || sqlStateOf(error) === undefinedTable;
}

/** Sessions that hold, or stand in the queue for, the only lock that keeps readers out. */
async function lockHolders(client: Client, tableId: string): Promise<string[]> {
  const { rows } = await client.query<{ holder: string }>(
    `WITH RECURSIVE tree AS (
       SELECT $1::oid AS relid
       UNION
       SELECT i.inhrelid FROM tree JOIN pg_catalog.pg_inherits i ON i.inhparent = tree.relid
     )
     SELECT DISTINCT CASE WHEN l.pid IS NULL THEN 'a prepared transaction' ELSE 'pid ' || l.pid END
            || CASE WHEN l.granted THEN ' holds' ELSE ' waits for' END || ' AccessExclusiveLock' AS holder
       FROM pg_catalog.pg_locks l
      WHERE l.locktype = 'relation' AND l.relation IN (SELECT relid FROM tree) AND l.mode = 'AccessExclusiveLock'
        AND l.database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database())
        AND l.pid IS DISTINCT FROM pg_backend_pid()
      ORDER BY 1`,
    [tableId],
  );
  return rows.map(({ holder }) => holder);
}

/** The open transaction's snapshot, for others to join; valid while the transaction lasts. */
export async function exportSnapshot(client: Client): Promise<string> {
  const { rows } = await client.query<{ id: string }>("SELECT pg_catalog.pg_export_snapshot() AS id");
  return rows[0].id;
}

/**
 * Begins a transaction with another's snapshot.
 * @returns false when the lock can't be had at once: a session that waits for the leader's lock to go stands before us,
 *   and waiting behind it would be waiting for ourselves
 */
export async function joinSnapshot(
  client: Client,
  exportedId: string,
  place: Omit<TablePlace, "inRecovery">,
): Promise<boolean> {
  await freeOfTimeouts(client);
  await client.query("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY");
  await client.query(`SET TRANSACTION SNAPSHOT '${exportedId.replaceAll("'", "")}'`);
  try {
    await client.query(lockSql(place));
    return true;
  } catch (error) {
    if (isLockNotAvailable(error)) return false;
    throw error;
  }
}
