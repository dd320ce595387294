import { z } from "zod";
import type { ObjectStore } from "../staging/object-store";

/**
 * `progress/<id>.json`: where to go on reading, so that a start needn't read the whole log. A hint only: each table's
 * position is in the table itself (`txn`), and what contradicts it here is not believed.
 */
export const progressSchema = z.object({
  version: z.literal(1),
  logId: z.string(),
  /** every record up to here was looked at for new tables */
  scannedSequence: z.int().min(0),
  /** trigger `schedule`: time for which the last run was due */
  ranAt: z.iso.datetime().optional(),
  tables: z.record(
    z.string(),
    z.object({
      /** of the source */
      schema: z.string(),
      name: z.string(),
      /** where its rows were */
      place: z.object({ schema: z.string(), name: z.string() }).optional(),
      removed: z.boolean(),
      /** the table's own position when this was written; null when it had none */
      heldSequence: z.int().nullable(),
      /** no record up to here has anything that the table lacks */
      sequence: z.int().min(0),
    }),
  ),
});
export type ApplierProgress = z.infer<typeof progressSchema>;

const keyOf = (id: string) => `progress/${encodeURIComponent(id)}.json`;

/** `null` when there is none, or none of this log. */
export async function readProgress(store: ObjectStore, id: string, logId: string): Promise<ApplierProgress | null> {
  const content = await store.get(keyOf(id));
  if (content === null) return null;
  try {
    const progress = progressSchema.parse(JSON.parse(content.toString("utf8")));
    return progress.logId === logId ? progress : null;
  } catch {
    return null;
  }
}

export async function writeProgress(store: ObjectStore, id: string, progress: ApplierProgress): Promise<void> {
  await store.put(keyOf(id), JSON.stringify(progress));
}

/**
 * What all appliers of a log have written; null when one of them can't be read, as then nobody knows what it needs.
 * (`progress/gateway.json` is the gateway's.)
 */
export async function readAllProgress(store: ObjectStore, logId: string): Promise<ApplierProgress[] | null> {
  const found: ApplierProgress[] = [];
  for (const key of await store.list("progress")) {
    if (!key.endsWith(".json") || key === "progress/gateway.json") continue;
    const content = await store.get(key);
    if (content === null) continue;
    const parsed = progressSchema.safeParse(parseOrNull(content.toString("utf8")));
    if (!parsed.success) return null;
    if (parsed.data.logId === logId) found.push(parsed.data);
  }
  return found;
}

function parseOrNull(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

/** Pure: no applier needs a record up to here; 0 when that isn't known. */
export function neededAfter(all: ApplierProgress[] | null): number {
  if (all === null || all.length === 0) return 0;
  return Math.min(
    ...all.flatMap(({ scannedSequence, tables }) => [
      scannedSequence,
      ...Object.values(tables).map(({ sequence }) => sequence),
    ]),
  );
}
