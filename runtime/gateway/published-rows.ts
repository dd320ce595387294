import type { Client } from "pg";
import { log } from "../operate/log";
import { withinLockTimeout } from "../postgres/lock-timeout";
import type { Capture } from "./capture";
import type { CapturedTable } from "./captured-table";
import type { Leaf, PublishedTable } from "./published-tables";

/** How long one partition may hold up the look at all else; it is looked at again the next time. */
const lockTimeoutMs = 100;

/** What has become of the partitions whose rows a table's snapshot holds. */
export interface LeafChanges {
  /** rows came or went in a way that isn't streamed: why the table must be copied again; else null */
  reason: string | null;
  /** new ones that may have had rows before they were attached */
  attached: Leaf[];
  /** known ones that are gone; their rows stay in the destination */
  detached: string[];
}

/** Pure. @param known file nodes by oid */
export function compareLeaves(known: ReadonlyMap<string, string>, found: readonly Leaf[]): LeafChanges {
  const changes: LeafChanges = { reason: null, attached: [], detached: [] };
  const present = new Set(found.map((leaf) => leaf.relationId));
  for (const relationId of known.keys()) if (!present.has(relationId)) changes.detached.push(relationId);
  for (const leaf of found) {
    const fileNode = known.get(leaf.relationId);
    if (fileNode === undefined) {
      if (!leaf.isBorn) changes.attached.push(leaf);
    } else if (fileNode !== leaf.fileNode) {
      // TRUNCATE of a partition isn't streamed as one of its root; a rewrite by VACUUM FULL looks the same.
      changes.reason = `its partition ${leaf.name} was truncated or rewritten`;
    }
  }
  return changes;
}

/**
 * Sends a table back to be copied when its rows are others now for a reason that isn't streamed: a partition attached
 * with rows, or truncated by itself.
 * @param before each table's state when `published` was asked for: a snapshot taken since knows better
 */
export async function followPublishedRows(
  client: Client,
  capture: Capture,
  published: readonly PublishedTable[],
  before: ReadonlyMap<string, string | null>,
): Promise<void> {
  for (const { tableId, leaves } of published) {
    const table = capture.tables.get(Number(tableId));
    if (table?.capture.kind !== "capturing" || before.get(tableId) !== table.snapshotId) continue;
    const { snapshotId } = table;
    const reason = await leavesReason(client, table, leaves);
    if (reason === null) continue;
    capture.atBoundary(() => {
      if (table.capture.kind !== "capturing" || table.snapshotId !== snapshotId) return;
      log("warning", "table-copied-again", { table: nameOf(table), reason, source: "publication" });
      capture.sendBack(table, reason);
    });
  }
}

async function leavesReason(client: Client, table: CapturedTable, leaves: Leaf[] | null): Promise<string | null> {
  if (table.leaves === null || leaves === null) return null;
  const known = table.leaves;
  const { reason, attached, detached } = compareLeaves(known, leaves);
  if (reason !== null) return reason;
  for (const leaf of attached) {
    const looked = await withinLockTimeout(client, lockTimeoutMs, () =>
      client.query<{ filled: boolean }>(`SELECT EXISTS (SELECT FROM ONLY ${leaf.name}) AS filled`),
    );
    if (looked === null) {
      log("info", "partition-waits", { table: nameOf(table), for: `a lock on ${leaf.name}` });
      return null;
    }
    // An empty one has no row that wasn't streamed; what it had before, and lost since, is deleted in the stream.
    if (looked.rows[0].filled) return `the partition ${leaf.name} was attached with rows`;
  }
  if (table.leaves !== known) return null;
  for (const relationId of detached) log("info", "partition-detached", { table: nameOf(table), relationId });
  if (detached.length > 0 || leaves.length !== known.size) {
    table.leaves = new Map(leaves.map((leaf) => [leaf.relationId, leaf.fileNode]));
  }
  return null;
}

function nameOf(table: CapturedTable): string {
  return `${table.schema}.${table.name}`;
}
