import type { SourceConfig } from "../../runtime/config";
import { SluiceError } from "../../runtime/errors";
import { withAdmin } from "../postgres/admin-session";
import { readSlotFacts } from "../postgres/slot-statements";
import { pick } from "./connection";
import type { Properties, ReadResult } from "./lifecycle";
import { otherKind } from "./slot-ownership";
import { sourceInputSchema } from "./source-input";

/** Of one that isn't this stack's, by its name: `ReplicationSlot.get`. `isOthers` keeps it from a delete. */
export async function readExistingSlot(name: string, props: Properties): Promise<ReadResult> {
  // The source is as a program gives it.
  const source = sourceInputSchema.parse(props.source) as SourceConfig;
  const slot = await withAdmin(source, "reading the replication slot", (client) => readSlotFacts(client, name));
  if (slot === null) {
    throw new SluiceError("missing-object", `replication slot ${name} does not exist`, {
      remedy: "Correct its name: SELECT slot_name FROM pg_replication_slots.",
    });
  }
  const what = otherKind(slot, source.database);
  if (what !== null) {
    throw new SluiceError("unsupported", `replication slot ${name} ${what}, not of pgoutput in ${source.database}`, {
      remedy: "Name a slot of pgoutput, and in source the database that it belongs to.",
    });
  }
  const found = { failover: slot.failover ?? false, lost: slot.walStatus === "lost", isOthers: true };
  return { id: name, props: { ...props, slotName: name, ...found }, inputs: pick(props, ["source"]) };
}
