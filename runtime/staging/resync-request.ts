import { z } from "zod";
import { SluiceError } from "../errors";
import { readVersioned } from "../versioned-document";
import type { ObjectStore } from "./object-store";
import type { StagedCommit } from "./staged-commit";
import { readCommit, readHead } from "./staging-log";

/** `requests/resync/<oid>.json`: somebody wants a new snapshot of a table. It stays until one has begun in a staged record. */
export const resyncRequestSchema = z.strictObject({
  version: z.literal(1),
  tableId: z.string().regex(/^\d+$/),
  /** the table's newest snapshot when it was asked for: any other is newer */
  snapshotId: z.string().nullable(),
  requestedAt: z.iso.datetime(),
});
export type ResyncRequest = z.infer<typeof resyncRequestSchema>;

const folder = "requests/resync";
const keyOf = (tableId: string) => `${folder}/${tableId}.json`;

/**
 * Asks the gateway for a new snapshot of a table; asking twice is asking once.
 * @param label `schema.name` at the source
 * @throws SluiceError `missing-object` when the newest staged record has no such table
 */
export async function requestResync(store: ObjectStore, label: string): Promise<ResyncRequest> {
  const tables = await readStagedTables(store);
  const found = tables.find(([, table]) => labelOf(table) === label);
  if (found === undefined) {
    const known = tables.map(([, table]) => labelOf(table)).sort();
    throw new SluiceError("missing-object", `staging ${store.location} has no table ${label}`, {
      remedy: known.length === 0 ? "Start the gateway first." : `Name one of: ${known.join(", ")}.`,
    });
  }
  return requestSnapshot(store, found[0], found[1].snapshotId);
}

/** @param snapshotId the table's newest staged snapshot */
export async function requestSnapshot(
  store: ObjectStore,
  tableId: string,
  snapshotId: string | null,
): Promise<ResyncRequest> {
  const request: ResyncRequest = { version: 1, tableId, snapshotId, requestedAt: new Date().toISOString() };
  await store.put(keyOf(tableId), JSON.stringify(request));
  return request;
}

/** `schema.name` of each table that the newest staged record has. */
export async function readStagedLabels(store: ObjectStore): Promise<string[]> {
  return (await readStagedTables(store)).map(([, table]) => labelOf(table)).sort();
}

async function readStagedTables(store: ObjectStore): Promise<[string, StagedCommit["tables"][string]][]> {
  const head = await readHead(store);
  return head === 0 ? [] : Object.entries((await readCommit(store, head)).tables);
}

function labelOf({ schema, name }: StagedCommit["tables"][string]): string {
  return `${schema}.${name}`;
}

/** Those that are open; a damaged one is removed, as it can't be followed. One of a newer program waits for a newer gateway. */
export async function readResyncRequests(store: ObjectStore): Promise<ResyncRequest[]> {
  const requests: ResyncRequest[] = [];
  for (const key of await store.list(folder)) {
    const content = await store.get(key);
    if (content === null) continue;
    const reading = readVersioned(content.toString("utf8"), resyncRequestSchema, 1);
    if (reading.kind === "read") requests.push(reading.value);
    if (reading.kind === "damaged") await store.delete(key);
  }
  return requests;
}

export function forgetResync(store: ObjectStore, tableId: string): Promise<void> {
  return store.delete(keyOf(tableId));
}
