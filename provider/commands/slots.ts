import type { Client } from "pg";
import { bytesText } from "../../runtime/byte-text";
import { describeError, SluiceError } from "../../runtime/errors";
import type { SourceConfig } from "../../runtime/source-config";
import { withAdmin } from "../postgres/admin-session";
import {
  type Ownership,
  type PublicationEntry,
  publicationOwnership,
  readPublications,
  readSlots,
  type SlotEntry,
  slotOwnership,
} from "../postgres/slot-inventory";
import { type Command, parseOptions, print, printJson } from "./command";
import { type DropOptions, dropPublicationOnDemand, dropSlotOnDemand } from "./slot-drop";
import { slotTable } from "./slot-table";
import { sourceOf, sourceOptions, sourceUsage } from "./source-options";
import { type Claim, readClaims } from "./stack-state";

const options = {
  ...sourceOptions,
  "stack-state": { type: "string", multiple: true },
  check: { type: "boolean" },
  drop: { type: "string" },
  yes: { type: "boolean" },
  force: { type: "boolean" },
} as const;

/** With whose it is, and which resource of a stack claims it; `null`: none of the given ones. */
export interface Owned {
  ownership: Ownership;
  stack: string | null;
}
export type OwnedSlot = SlotEntry & Owned;
export type OwnedPublication = PublicationEntry & Owned;

export interface Inventory {
  slots: OwnedSlot[];
  publications: OwnedPublication[];
  /** databases that couldn't be looked into, with the reason */
  unseen: { database: string; reason: string }[];
}

export const slots: Command = {
  name: "slots",
  summary: "slots and publications of a server, whose they are, what WAL they keep; drops what no stack owns",
  usage: `sluice slots: lists the server's replication slots, and publications of the databases that have slots like ours

${sourceUsage}  --stack-state FILE     what pulumi stack export has written of a stack; may be given again. What is ours and in none
                         of them is unclaimed (without any: all that is ours)
  --check                ends with 1 where something of ours is unclaimed
  --drop NAME            drops this slot, or this publication of --from's database, and verifies that it is gone: only
                         one with our mark, idle, and in no given stack
  --yes                  does it; without it nothing is dropped, and what would be is told
  --force                drops what is claimed, is read (its reader is ended), or has our name without our mark, too
  --json                 one line of JSON
`,
  async run(argv) {
    const values = parseOptions("slots", argv, options);
    const source = sourceOf("slots", values);
    const claims = readClaims(values["stack-state"] ?? []);
    return withAdmin(source, "listing replication slots", async (client) => {
      const inventory = await takeInventory(client, source, claims);
      if (values.drop !== undefined) {
        const how = { isConfirmed: values.yes === true, isForced: values.force === true };
        return drop(client, inventory, values.drop, { ...how, asJson: values.json === true });
      }
      const unclaimed = [...inventory.slots, ...inventory.publications].filter(isUnclaimed);
      if (values.json === true) printJson({ ...inventory, unclaimed: unclaimed.map(({ name }) => name) });
      else print(inventoryText(inventory));
      return values.check === true && unclaimed.length > 0 ? 1 : 0;
    });
  },
};

/** Ours, by mark or by name, and of none of the given stacks. */
export function isUnclaimed({ ownership, stack }: Owned): boolean {
  return ownership.kind !== "foreign" && stack === null;
}

async function takeInventory(client: Client, source: SourceConfig, claims: readonly Claim[]): Promise<Inventory> {
  const found = await readSlots(client);
  const publications = await readPublications(client);
  const seen = new Set([source.database]);
  const unseen: Inventory["unseen"] = [];
  for (const { name, database, plugin } of found) {
    if (database === null || plugin !== "pgoutput" || !name.startsWith("dbx_") || seen.has(database)) continue;
    seen.add(database);
    try {
      publications.push(...(await withAdmin({ ...source, database }, "listing publications", readPublications)));
    } catch (error) {
      unseen.push({ database, reason: describeError(error) });
    }
  }
  const isUnseen = (database: string | null) => unseen.some((one) => one.database === database);
  const stackOf = (kind: Claim["kind"], name: string, database: string | null) =>
    claims.find((claim) => claim.kind === kind && claim.name === name && claim.database === database)?.urn ?? null;
  return {
    slots: found.map((slot) => ({
      ...slot,
      ownership: slotOwnership(slot, isUnseen(slot.database) ? null : publications),
      stack: stackOf("slot", slot.name, slot.database),
    })),
    publications: publications.map((one) => ({
      ...one,
      ownership: publicationOwnership(one),
      stack: stackOf("publication", one.name, one.database),
    })),
    unseen,
  };
}

async function drop(client: Client, inventory: Inventory, name: string, options: DropOptions): Promise<number> {
  const slot = inventory.slots.find((one) => one.name === name);
  if (slot !== undefined) return dropSlotOnDemand(client, slot, options);
  const { rows } = await client.query<{ database: string }>("SELECT current_database()::text AS database");
  const publication = inventory.publications.find((one) => one.name === name && one.database === rows[0].database);
  if (publication !== undefined) return dropPublicationOnDemand(client, publication, inventory.slots, options);
  throw new SluiceError(
    "missing-object",
    `sluice slots: there is no slot, and no publication of this database, ${name}`,
    {
      remedy: "See sluice slots without --drop; give --from the database of the publication.",
    },
  );
}

/** Pure. */
export function inventoryText(inventory: Inventory): string {
  const unclaimed = inventory.slots.filter(isUnclaimed);
  const kept = Math.max(0, ...unclaimed.map(({ retainedBytes }) => retainedBytes ?? 0));
  const names = [...unclaimed, ...inventory.publications.filter(isUnclaimed)].map(({ name }) => name);
  return [
    ...slotTable(inventory),
    ...inventory.unseen.map(({ database, reason }) => `database ${database} could not be looked into: ${reason}`),
    "",
    names.length === 0
      ? "Nothing of ours is unclaimed."
      : `Unclaimed: ${names.join(", ")}. The slots among them keep ${bytesText(kept)} of WAL. sluice slots --drop NAME drops one.`,
  ].join("\n");
}
