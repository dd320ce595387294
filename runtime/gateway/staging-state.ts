import { z } from "zod";
import { isKeptAs } from "../change/types";
import type { GatewayConfig } from "../config";
import { SluiceError } from "../errors";
import { formatLsn, type Lsn, maxLsn, parseLsn } from "../postgres/lsn";
import type { ObjectStore } from "../staging/object-store";
import { gatewayProgressKeys } from "../staging/progress-keys";
import { readCommit, readHead, readTableSchema } from "../staging/staging-log";
import { writtenByNewer } from "../staging/staging-writer";
import { readVersioned } from "../versioned-document";
import { CapturedTable } from "./captured-table";
import { fromStaged } from "./snapshot-resume";

const { idle: idleKey, source: sourceKey } = gatewayProgressKeys;

const followedSourceSchema = z.strictObject({
  version: z.literal(1),
  systemIdentifier: z.string().min(1),
  timeline: z.int().min(1),
  /** of our slot, when it was last seen */
  failover: z.boolean(),
  /** when the server was started, in microseconds */
  startedAt: z.string().optional(),
});

/** The server that staging follows: its LSNs mean something in this cluster and on this timeline only. */
export type FollowedSource = Omit<z.infer<typeof followedSourceSchema>, "version">;

/** `null` before the first stream. */
export async function readFollowedSource(store: ObjectStore): Promise<FollowedSource | null> {
  const content = await store.get(sourceKey);
  if (content === null) return null;
  const reading = readVersioned(content.toString("utf8"), followedSourceSchema, 1);
  switch (reading.kind) {
    case "read": {
      const { version: _version, ...followed } = reading.value;
      return followed;
    }
    case "newer":
      throw await writtenByNewer(store, sourceKey, reading.what);
    case "damaged":
      throw new SluiceError("staging", `staging: ${sourceKey} in ${store.location} is damaged`, {
        remedy: "Restore the file from a backup, or replace the ReplicationSlot to take new snapshots of all tables.",
        cause: reading.cause,
      });
  }
}

/** Before anything of that server is staged. */
export async function writeFollowedSource(store: ObjectStore, followed: FollowedSource): Promise<void> {
  await store.put(sourceKey, JSON.stringify({ version: 1, ...followed }));
}

/** What a starting gateway finds in staging. */
export interface StagingState {
  sequence: number;
  /** null in an empty staging */
  endLsn: Lsn | null;
  /** position up to which nothing was to be staged; null when none was kept */
  idleLsn: Lsn | null;
  tables: CapturedTable[];
  /** a table waits for a snapshot though the newest record says otherwise */
  statesChanged: boolean;
}

/** The position from which nothing is missing: null in an empty staging. */
export function stagedPosition(state: { endLsn: Lsn | null; idleLsn: Lsn | null }): Lsn | null {
  if (state.endLsn === null) return state.idleLsn;
  return state.idleLsn === null ? state.endLsn : maxLsn(state.endLsn, state.idleLsn);
}

export async function readStagingState(
  store: ObjectStore,
  { types, beforeImages }: Pick<GatewayConfig, "types" | "beforeImages">,
): Promise<StagingState> {
  const idleLsn = await readIdle(store);
  const sequence = await readHead(store);
  if (sequence === 0) return { sequence, endLsn: null, idleLsn, tables: [], statesChanged: false };
  const commit = await readCommit(store, sequence);
  const tables: CapturedTable[] = [];
  let statesChanged = false;
  for (const [tableId, known] of Object.entries(commit.tables)) {
    const table = new CapturedTable(tableId, known.schema, known.name, beforeImages);
    table.snapshotId = known.snapshotId;
    table.snapshots = known.snapshots;
    if (known.snapshotId !== null) {
      const schema = await readTableSchema(store, tableId, known.schemaId);
      table.schemaId = known.schemaId;
      table.rowFilter = known.rowFilter ?? null;
      table.membership = known.membership ?? null;
      table.leaves = known.leaves === undefined ? null : new Map(Object.entries(known.leaves));
      const progress = known.snapshot && fromStaged(known.snapshotId, known.snapshot, Date.now());
      const kept = progress !== undefined && (progress.resumable || progress.copiedAtMs !== null);
      if ((known.snapshotComplete || kept) && !isKeptAs(schema, types)) {
        table.await("its columns are kept in another way now: a new snapshot follows");
        statesChanged = true;
      } else if (known.snapshotComplete || kept) {
        table.snapshotComplete = known.snapshotComplete;
        table.snapshot = progress ?? null;
        const visibility = progress?.visibility ?? null;
        table.capture = { kind: "capturing", schema, spool: table.newSpool(schema), visibility };
        table.markCut();
      }
    }
    tables.push(table);
  }
  return { sequence, endLsn: parseLsn(commit.endLsn), idleLsn, tables, statesChanged };
}

async function readIdle(store: ObjectStore): Promise<Lsn | null> {
  const content = await store.get(idleKey);
  if (content === null) return null;
  try {
    return parseLsn((JSON.parse(content.toString("utf8")) as { idleLsn: string }).idleLsn);
  } catch (cause) {
    throw new SluiceError("staging", `staging: ${idleKey} in ${store.location} is damaged`, {
      remedy: `Delete ${idleKey}; if the gateway then finds the slot ahead of staging, replace the ReplicationSlot.`,
      cause,
    });
  }
}

/**
 * Keeps the position that an idle stream has reached, so that it can be acknowledged: an idle table must not hold back
 * the server's WAL, and a restart must not take the slot for one that lost changes.
 */
export class IdlePosition {
  private writing = false;

  constructor(
    private readonly store: ObjectStore,
    public durableLsn: Lsn,
  ) {}

  /** The position after a gap, be it before or after the one kept. */
  async restart(lsn: Lsn): Promise<void> {
    await this.store.put(idleKey, JSON.stringify({ idleLsn: formatLsn(lsn) }));
    this.durableLsn = lsn;
  }

  /** One write at a time; what comes meanwhile is left to the next call. */
  async advance(lsn: Lsn): Promise<void> {
    if (this.writing || lsn <= this.durableLsn) return;
    this.writing = true;
    try {
      await this.store.put(idleKey, JSON.stringify({ idleLsn: formatLsn(lsn) }));
      this.durableLsn = lsn;
    } finally {
      this.writing = false;
    }
  }
}
