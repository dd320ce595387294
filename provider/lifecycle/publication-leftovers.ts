import type { Client } from "pg";
import type { SourceConfig } from "../../runtime/config";
import { dropSlotSql, listSlots, removeSlot } from "../postgres/slot-statements";
import type { Properties } from "./lifecycle";
import { unknownSlot } from "./slot-ownership";

/**
 * Slots with this publication's own id in their names are deleted before it. What is left is of a create whose result was
 * lost, unless the mark says that it is to stay.
 */
export async function removeSlotsOf(client: Client, props: Properties, keptSlots: readonly string[]): Promise<void> {
  const { pipelineId, source } = props as { pipelineId: string; source: SourceConfig };
  for (const slot of await listSlots(client)) {
    const found = unknownSlot(slot.name, slot, { pipelineId, database: source.database }, keptSlots);
    if (found === "leftover") {
      console.log(`replication slot ${slot.name} is left of an interrupted update: it is dropped`);
      await removeSlot(client, slot.name, 10_000);
    } else if (keptSlots.includes(slot.name)) {
      console.log(
        `warning: replication slot ${slot.name} stays, as its resource said, but can't be read without its publication; the server keeps WAL for it until somebody runs ${dropSlotSql(slot.name)}`,
      );
    }
  }
}
