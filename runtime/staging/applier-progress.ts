import { z } from "zod";
import { readVersioned } from "../versioned-document";
import type { ObjectStore } from "./object-store";
import { applierOf, applierProgressKey } from "./progress-keys";
import { writtenByNewer } from "./staging-writer";

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
      /** its rows are being dropped: nothing else is done before they are gone */
      dropping: z.literal(true).optional(),
      /**
       * it has rows of another log, which was applied on beside this one, and keeps what was: it goes on with the first
       * snapshot after `sequence`
       */
      awaitsSnapshot: z.literal(true).optional(),
      /** the table's own position when this was written; null when it had none */
      heldSequence: z.int().nullable(),
      /** since when it can't be applied */
      quarantinedAt: z.iso.datetime().optional(),
      /** a file of it that is damaged, as its log names it */
      damagedFile: z.string().optional(),
      /** no record up to here has anything that the table lacks */
      sequence: z.int().min(0),
    }),
  ),
});
export type ApplierProgress = z.infer<typeof progressSchema>;

/**
 * `null` when there is none, none of this log, or one that is damaged.
 * @throws SluiceError `staging` when a newer applier wrote it: it may have begun what this one would not go on with
 */
export async function readProgress(store: ObjectStore, id: string, logId: string): Promise<ApplierProgress | null> {
  const key = applierProgressKey(id);
  const content = await store.get(key);
  if (content === null) return null;
  const reading = readVersioned(content.toString("utf8"), progressSchema, 1);
  switch (reading.kind) {
    case "read":
      return reading.value.logId === logId ? reading.value : null;
    case "newer":
      throw await writtenByNewer(store, key, reading.what);
    case "damaged":
      return null;
  }
}

export async function writeProgress(store: ObjectStore, id: string, progress: ApplierProgress): Promise<void> {
  await store.put(applierProgressKey(id), JSON.stringify(progress));
}

/**
 * What all appliers of a log have written, by id; null when one of them can't be read, as then nobody knows what it needs.
 */
export async function readAllProgress(store: ObjectStore, logId: string): Promise<Map<string, ApplierProgress> | null> {
  const found = new Map<string, ApplierProgress>();
  for (const key of await store.list("progress")) {
    const id = applierOf(key);
    if (id === null) continue;
    const content = await store.get(key);
    if (content === null) continue;
    const parsed = progressSchema.safeParse(parseOrNull(content.toString("utf8")));
    if (!parsed.success) return null;
    if (parsed.data.logId === logId) found.set(id, parsed.data);
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

/** Pure: no applier needs a record up to `sequence`; 0 when that isn't known. `by`: who needs the next one. */
export function neededAfter(all: ReadonlyMap<string, ApplierProgress> | null): { sequence: number; by: string } {
  if (all === null) return { sequence: 0, by: "a file of progress/ that can't be read" };
  let needed = { sequence: Number.POSITIVE_INFINITY, by: "" };
  for (const [id, { scannedSequence, tables }] of all) {
    const parts = [
      { sequence: scannedSequence, by: `applier ${id}` },
      ...Object.values(tables).map(({ sequence, schema, name }) => ({
        sequence,
        by: `table ${schema}.${name} of applier ${id}`,
      })),
    ];
    for (const part of parts) if (part.sequence < needed.sequence) needed = part;
  }
  return all.size === 0 ? { sequence: 0, by: "no applier has told its progress" } : needed;
}
