import type { Client } from "pg";
import type { SourceConfig } from "../../runtime/config";
import { readSlotFacts, type SlotFacts } from "../postgres/slot-statements";
import type { Properties } from "./lifecycle";
import { slotNameOf, successorSlotName } from "./names";
import { isOwn } from "./own-names";
import { isKeptAtDelete } from "./replication-slot-inputs";
import { otherKind, type SlotOwner, unknownSlot } from "./slot-ownership";

export const serverOf = (source: SourceConfig) => `${source.host}:${source.port}`;
export const serverSlot = (source: SourceConfig, name: unknown) => `${serverOf(source)}/${name}`;

export const ownerOf = ({ pipelineId, source }: Properties): SlotOwner => ({
  pipelineId: pipelineId as string,
  database: (source as SourceConfig).database,
});

/** What a create has to do with a slot of its name. */
export function standing(inputs: Properties, name: string, slot: SlotFacts, keptSlots: readonly string[]) {
  if (inputs.adopt === true) return "adopted";
  if (isOwn("slot", name)) return "foreign";
  const found = unknownSlot(name, slot, ownerOf(inputs), keptSlots);
  // A create that was to keep it has marked it before its result was lost.
  return found === "kept" && isKeptAtDelete(inputs) ? "adopted" : found;
}

/** Whether the stack's state may have a slot that no check of this run was shown. */
export const mayBeReplaced = ({ pipelineId }: Properties): boolean => isOwn("pipeline", String(pipelineId));

/** The name of a new slot, and that of one beside which it is made where no check has seen that one. */
export interface NewSlotName {
  name: string;
  beside: string | null;
}

/** The one that is given; else that of the pipeline id, or another beside a slot that has it. */
export async function newSlotName(
  client: Client,
  inputs: Properties,
  databaseOid: number,
  keptSlots: readonly string[],
): Promise<NewSlotName> {
  const { slotName, pipelineId, incarnation, source, strategy, adopt } = inputs as {
    slotName?: string;
    pipelineId: string;
    incarnation: string;
    source: SourceConfig;
    strategy?: string;
    adopt?: boolean;
  };
  if (slotName !== undefined) return { name: slotName, beside: null };
  const name = slotNameOf(databaseOid, pipelineId);
  const successor = successorSlotName(databaseOid, pipelineId, incarnation);
  if (strategy !== "stop-first" && isOwn("slot family", `${serverOf(source)}/${pipelineId}`)) {
    return { name: successor, beside: null };
  }
  // An engine that is told to replace a slot (`pulumi up --replace`) checks it without its olds, and makes the new one first.
  if (adopt === true || isOwn("slot", name) || !mayBeReplaced(inputs)) return { name, beside: null };
  const slot = await readSlotFacts(client, name);
  const isThere =
    slot !== null &&
    otherKind(slot, source.database) === null &&
    unknownSlot(name, slot, ownerOf(inputs), keptSlots) === "foreign";
  return isThere ? { name: successor, beside: name } : { name, beside: null };
}
