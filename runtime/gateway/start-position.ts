import { SluiceError } from "../errors";
import { formatLsn, type Lsn, maxLsn } from "../postgres/lsn";

export interface SlotPosition {
  name: string;
  confirmedFlushLsn: Lsn | null;
  walStatus: string | null;
  plugin: string | null;
}

/**
 * From where to stream: two clocks are compared, the slot's and staging's. The slot may lag (what is staged is
 * skipped), never lead: what it has let go is gone.
 * @param stagedLsn `endLsn` of the newest staged commit, or the idle position kept beside it; null in an empty staging
 * @throws SluiceError `slot-lost`
 */
export function startPosition(slot: SlotPosition | null, slotName: string, stagedLsn: Lsn | null): Lsn {
  const remedy =
    "Changes are lost: replace the ReplicationSlot (pulumi up --replace <urn of the slot>) to take new snapshots of all tables.";
  if (slot === null) {
    throw new SluiceError("slot-lost", `the replication slot ${slotName} does not exist`, {
      remedy: `${remedy} To see what the provider knows of it, run pulumi refresh.`,
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
  if (slot.walStatus === "lost" || slot.confirmedFlushLsn === null) {
    throw new SluiceError(
      "slot-lost",
      `the replication slot ${slotName} is invalidated (wal_status ${slot.walStatus})`,
      {
        remedy: `${remedy} Raise max_slot_wal_keep_size so that it doesn't happen again.`,
      },
    );
  }
  if (stagedLsn === null) return slot.confirmedFlushLsn;
  if (slot.confirmedFlushLsn > stagedLsn) {
    throw new SluiceError(
      "slot-lost",
      `the replication slot ${slotName} stands at ${formatLsn(slot.confirmedFlushLsn)}, after the last staged position ${formatLsn(stagedLsn)}`,
      { remedy: `${remedy} Another consumer has moved the slot, or staging was restored from an older copy.` },
    );
  }
  return maxLsn(slot.confirmedFlushLsn, stagedLsn);
}
