import { SluiceError } from "../../runtime/errors";
import { dropSlotSql, type SlotFacts } from "../postgres/slot-statements";
import { isGeneratedSlotName, isRandomPipelineId } from "./names";

/** Of the stack that meets a slot. */
export interface SlotOwner {
  pipelineId: string;
  database: string;
}

/**
 * Pure: what a slot is to a stack whose state doesn't have it. `leftover`: made by a create whose result was lost, as
 * nobody else can know a random pipeline id, and nobody reads it. `kept`: it is to outlive its resource, by the
 * publication's mark (`keptSlots`).
 */
export function unknownSlot(
  name: string,
  { plugin, database, activePid }: SlotFacts,
  owner: SlotOwner,
  keptSlots: readonly string[],
): "leftover" | "kept" | "foreign" {
  const isGenerated = isRandomPipelineId(owner.pipelineId) && isGeneratedSlotName(name, owner.pipelineId);
  if (!isGenerated || plugin !== "pgoutput" || database !== owner.database || activePid !== null) return "foreign";
  return keptSlots.includes(name) ? "kept" : "leftover";
}

/** Pure: a slot of another plug-in or database is none of ours, whatever its name. */
export function otherKind({ plugin, database }: SlotFacts, wanted: string): string | null {
  if (plugin === "pgoutput" && database === wanted) return null;
  return plugin === null ? "is physical" : `is of plug-in ${plugin} in database ${database}`;
}

/** @param mayBeReplaced an engine may have been told to replace it (`pulumi up --replace`), of which it tells nothing */
export function nameTaken(name: string, slot: SlotFacts, mayBeReplaced = false): SluiceError {
  const held = slot.activePid === null ? "and is idle" : `and is read by ${readerOf(slot)}`;
  const replaced = mayBeReplaced
    ? "If pulumi up --replace is to make another in its place: give slotName another value instead, which replaces it too. Else: choose"
    : "Choose";
  return new SluiceError(
    "name-taken",
    `a replication slot ${name} exists (database ${slot.database ?? "none"}) ${held}; it isn't this stack's`,
    {
      remedy: `${replaced} another slotName; or take it over with adopt: true; or, if nothing needs it, run ${dropSlotSql(name)}.`,
    },
  );
}

const readerOf = ({ activePid, reader }: SlotFacts) =>
  `pid ${activePid}${reader === null ? "" : ` (application ${reader})`}`;

/** Pure: what stands against taking over this slot, or null. What is invalidated has lost changes; a reader would go on. */
export function slotAdoptionProblem(name: string, slot: SlotFacts, database: string): SluiceError | null {
  const refuse = (kind: SluiceError["kind"], what: string, remedy: string) =>
    new SluiceError(kind, `replication slot ${name} ${what}, and can't be taken over`, { remedy });
  const other = otherKind(slot, database);
  if (other !== null) {
    const remedy = `Name a slot of pgoutput in database ${database}, or leave adopt out and choose another slotName.`;
    return refuse("unsupported", `${other}, not of pgoutput in ${database}`, remedy);
  }
  if (slot.temporary) {
    return refuse(
      "unsupported",
      "is temporary: it goes with the session that made it",
      "Leave adopt out and choose another slotName: all tables are copied then.",
    );
  }
  if (slot.walStatus === "lost" || slot.invalidationReason !== null) {
    return refuse(
      "slot-lost",
      `is invalidated (${slot.invalidationReason ?? "its WAL was removed"}): changes are lost`,
      `Run ${dropSlotSql(name)}, or choose another slotName: all tables are copied then.`,
    );
  }
  if (slot.activePid !== null) {
    return refuse(
      "slot-in-use",
      `is read by ${readerOf(slot)}`,
      `Stop that consumer for good (SELECT pg_terminate_backend(${slot.activePid}) ends its session only), then run pulumi up again: two readers of one slot would each lack what the other has acknowledged.`,
    );
  }
  return null;
}
