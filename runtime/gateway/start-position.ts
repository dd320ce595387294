import { SluiceError } from "../errors";
import { formatLsn, type Lsn, maxLsn } from "../postgres/lsn";

export interface SlotPosition {
  name: string;
  confirmedFlushLsn: Lsn | null;
  walStatus: string | null;
  plugin: string | null;
  database: string | null;
  /** PostgreSQL 17 and newer, else null */
  invalidationReason: string | null;
  /** PostgreSQL 16 and newer, else false */
  conflicting: boolean;
}

/**
 * From where to stream: two clocks are compared, the slot's and staging's. The slot may lag (what is staged is
 * skipped), never lead: what it has let go is gone.
 * @param stagedLsn `endLsn` of the newest staged commit, or the idle position kept beside it; null in an empty staging
 * @param startsAnew no table goes on from what is staged: each waits for a snapshot, so the slot may lead
 * @throws SluiceError `slot-lost`
 */
export function startPosition(
  slot: SlotPosition | null,
  slotName: string,
  stagedLsn: Lsn | null,
  startsAnew = false,
): Lsn {
  const remedy =
    'Changes are lost: replace the ReplicationSlot (pulumi up --replace <urn of the slot>), or set the gateway\'s onSlotLost to "resnapshot"; either takes new snapshots of all tables.';
  if (slot === null) {
    throw new SluiceError("slot-lost", `the replication slot ${slotName} does not exist`, {
      remedy: `${remedy} To see what the provider knows of it, run pulumi refresh. After a failover: a standby keeps the slot only with failover: true on the ReplicationSlot and sync_replication_slots = on on the standby (PostgreSQL 17).`,
    });
  }
  if (slot.plugin !== "pgoutput") {
    throw new SluiceError(
      "slot-lost",
      `the replication slot ${slotName} uses the plug-in ${slot.plugin}, not pgoutput`,
      {
        remedy: "Give the gateway a slot that was made by ReplicationSlot.",
      },
    );
  }
  if (isInvalidated(slot) || slot.confirmedFlushLsn === null) {
    throw new SluiceError(
      "slot-lost",
      `the replication slot ${slotName} is invalidated (${invalidation(slot)}, wal_status ${slot.walStatus})`,
      { remedy: `${remedy} ${prevention(slot)}` },
    );
  }
  if (stagedLsn === null) return slot.confirmedFlushLsn;
  if (slot.confirmedFlushLsn > stagedLsn && !startsAnew) {
    throw new SluiceError(
      "slot-lost",
      `the replication slot ${slotName} stands at ${formatLsn(slot.confirmedFlushLsn)}, after the last staged position ${formatLsn(stagedLsn)}`,
      { remedy: `${remedy} Another consumer has moved the slot, or staging was restored from an older copy.` },
    );
  }
  return maxLsn(slot.confirmedFlushLsn, stagedLsn);
}

/** The server has given the slot up: what it held may be gone. */
export function isInvalidated(slot: SlotPosition): boolean {
  return slot.walStatus === "lost" || slot.invalidationReason !== null || slot.conflicting;
}

function invalidation(slot: SlotPosition): string {
  return slot.invalidationReason ?? (slot.conflicting ? "it conflicts with recovery" : "its WAL was removed");
}

/** Reasons as pg_replication_slots.invalidation_reason has them. */
function prevention(slot: SlotPosition): string {
  switch (slot.invalidationReason) {
    case "rows_removed":
      return "So that it doesn't happen again, set hot_standby_feedback = on on the standby and give it a physical slot (primary_slot_name).";
    case null:
      if (!slot.conflicting) return "Raise max_slot_wal_keep_size so that it doesn't happen again.";
      return "So that it doesn't happen again, set hot_standby_feedback = on on the standby and give it a physical slot (primary_slot_name); wal_level of the primary must stay logical.";
    case "wal_level_insufficient":
      return "wal_level of the primary must stay logical.";
    case "idle_timeout":
      return "Raise idle_replication_slot_timeout above the longest stop of the gateway.";
    default:
      return "Raise max_slot_wal_keep_size so that it doesn't happen again.";
  }
}

/** The slot's name is all that START_REPLICATION looks up: one that was there at the look before has been dropped since. */
const undefinedObject = "42704";

/** What made a stream fail to start, as the loss of the slot where it is one. */
export function startFailure(error: unknown, slotName: string): unknown {
  if (!(error instanceof SluiceError) || error.sqlState !== undefinedObject) return error;
  try {
    return startPosition(null, slotName, null);
  } catch (lost) {
    return lost;
  }
}
