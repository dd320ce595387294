import { z } from "zod";
import type { ObjectStore } from "./object-store";

/**
 * `requests/history-loss/<applier>/<oid>.json`: somebody accepts that a table that is damaged now loses what its history
 * has in what is damaged, or that one whose types have changed loses its history. It stays until that is done, and is void for later damage.
 */
const acceptanceSchema = z.strictObject({
  version: z.literal(1),
  tableId: z.string().regex(/^\d+$/),
  acceptedAt: z.iso.datetime(),
});

const keyOf = (id: string, tableId: string) => `requests/history-loss/${encodeURIComponent(id)}/${tableId}.json`;

export async function acceptHistoryLoss(store: ObjectStore, id: string, tableId: string): Promise<void> {
  await store.put(keyOf(id, tableId), JSON.stringify({ version: 1, tableId, acceptedAt: new Date().toISOString() }));
}

/** When it was accepted; null when it wasn't, or can't be read. */
export async function historyLossAcceptedAtMs(store: ObjectStore, id: string, tableId: string): Promise<number | null> {
  const content = await store.get(keyOf(id, tableId));
  if (content === null) return null;
  try {
    return Date.parse(acceptanceSchema.parse(JSON.parse(content.toString("utf8"))).acceptedAt);
  } catch {
    return null;
  }
}

export function forgetHistoryLoss(store: ObjectStore, id: string, tableId: string): Promise<void> {
  return store.delete(keyOf(id, tableId));
}
