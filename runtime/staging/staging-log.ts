import { randomUUID } from "node:crypto";
import { z } from "zod";
import { type TableSchema, tableSchemaSchema } from "../change/table-schema";
import { SluiceError } from "../errors";
import { readVersioned } from "../versioned-document";
import type { ObjectStore } from "./object-store";
import { logKey, type StagedCommit, schemaKey, stagedCommitSchema, stagedCommitVersion } from "./staged-commit";
import { writtenByNewer } from "./staging-writer";

const identityKey = "log.json";

/**
 * The identity of this staging log, made at its first opening. Positions in one log mean nothing in another, so what
 * remembers a sequence (a table's `txn.appId`) remembers this too.
 */
export async function openLogIdentity(store: ObjectStore): Promise<string> {
  await store.putIfAbsent(
    identityKey,
    JSON.stringify({ version: 1, logId: randomUUID(), begunAt: new Date().toISOString() }),
  );
  const logId = await readLogIdentity(store);
  if (logId === null) throw damaged(store, identityKey, "is absent");
  return logId;
}

/** `null` while no gateway has opened the log. */
export async function readLogIdentity(store: ObjectStore): Promise<string | null> {
  if ((await store.get(identityKey)) === null) return null;
  return (await read(store, identityKey, identitySchema)).logId;
}

/** When a log was opened first, before any snapshot of it was taken; null for one of an earlier version. */
export async function readLogBegin(store: ObjectStore): Promise<number | null> {
  const { begunAt } = await read(store, identityKey, identitySchema);
  return begunAt === undefined ? null : Date.parse(begunAt);
}

const identitySchema = z.object({
  version: z.literal(1),
  logId: z.string().min(1),
  begunAt: z.iso.datetime().optional(),
});

/**
 * Sequence of the newest staged commit, 0 when there is none. `from`: a sequence known to exist; the log is then looked at
 * from there on only, as it may be long.
 */
export async function readHead(store: ObjectStore, from = 0): Promise<number> {
  if (from === 0) {
    const last = (await store.list("log")).at(-1);
    return last === undefined ? 0 : sequenceOf(last);
  }
  let head = from;
  while ((await store.get(logKey(head + 1))) !== null) head++;
  return head;
}

/**
 * Sequence of the oldest staged commit that isn't purged, 0 when there is none. `from`: what it was before; where it still is,
 * the log, which may be long, isn't listed.
 */
export async function readTail(store: ObjectStore, from = 0): Promise<number> {
  if (from > 0 && (await store.get(logKey(from))) !== null) return from;
  const [first] = await store.list("log");
  return first === undefined ? 0 : sequenceOf(first);
}

function sequenceOf(key: string): number {
  const match = /^log\/(\d{20})\.json$/.exec(key);
  if (match === null)
    throw new SluiceError("staging", `staging: ${key} is not a staged commit`, {
      remedy: "Move that file out of staging: only Sluice writes there.",
    });
  return Number(match[1]);
}

/** @throws SluiceError `staging` when it is absent, damaged, or of a newer version. */
export async function readCommit(store: ObjectStore, sequence: number): Promise<StagedCommit> {
  const commit = await read(store, logKey(sequence), stagedCommitSchema, stagedCommitVersion.newest);
  if (commit.sequence !== sequence) {
    throw new SluiceError("staging", `staging: ${logKey(sequence)} calls itself ${commit.sequence}`, {
      remedy:
        "Somebody has renamed or copied staged records: put them back as they were, or replace the Gateway, which copies every table again: pulumi up --replace <its URN>.",
    });
  }
  return commit;
}

export function readTableSchema(store: ObjectStore, tableId: string, schemaId: number): Promise<TableSchema> {
  return read(store, schemaKey(tableId, schemaId), tableSchemaSchema);
}

async function read<T>(store: ObjectStore, key: string, schema: z.ZodType<T>, newest = 1): Promise<T> {
  const content = await store.get(key);
  if (content === null) throw damaged(store, key, "is absent");
  const reading = readVersioned(content.toString("utf8"), schema, newest);
  switch (reading.kind) {
    case "read":
      return reading.value;
    case "newer":
      throw await writtenByNewer(store, key, reading.what);
    case "damaged":
      throw damaged(store, key, "is damaged", reading.cause);
  }
}

function damaged(store: ObjectStore, key: string, what: string, cause?: unknown): SluiceError {
  return new SluiceError("staging", `staging: ${key} in ${store.location} ${what}`, {
    remedy: "Restore the file from a backup, or replace the gateway to take new snapshots of all tables.",
    cause,
  });
}

/**
 * Writes the next record.
 * @throws SluiceError `conflict` when another gateway wrote that sequence.
 */
export async function appendCommit(store: ObjectStore, commit: StagedCommit): Promise<void> {
  if (await store.putIfAbsent(logKey(commit.sequence), JSON.stringify(commit))) return;
  const rival = await readCommit(store, commit.sequence);
  if (rival.epoch === commit.epoch && rival.stagedAt === commit.stagedAt) return;
  throw new SluiceError(
    "conflict",
    `staging: commit ${commit.sequence} in ${store.location} was written by another gateway (epoch ${rival.epoch})`,
    { remedy: "Two gateways share one staging folder: stop one of them, and give each its own stagingPath." },
  );
}
