import type { Client } from "pg";
import { bytesText } from "../../runtime/byte-text";
import { SluiceError } from "../../runtime/errors";
import { quoteIdentifier, quoteTable } from "../../runtime/postgres/identifier";
import { toSourceError } from "../../runtime/postgres/source-error";
import { restoreIdentities } from "../lifecycle/identity-restoration";
import { inIdentityTransaction } from "../lifecycle/identity-transaction";
import { setDdlCapture } from "../postgres/ddl-capture-statements";
import { ownershipMark, parseMark } from "../postgres/publication-mark";
import { dropPublication, readPublication } from "../postgres/publication-statements";
import { type PreviousIdentity, sameIdentity } from "../postgres/replica-identity";
import { dropSlotSql, readSlotFacts, removeSlot } from "../postgres/slot-statements";
import { inspectTables } from "../postgres/table-inspection";
import { print, printJson } from "./command";
import type { Owned, OwnedPublication, OwnedSlot } from "./slots";

export interface DropOptions {
  isConfirmed: boolean;
  isForced: boolean;
  asJson: boolean;
}

const dropTimeoutMs = 30_000;

/** Answers with the exit code: 1 when nothing was dropped as `--yes` is missing. */
export async function dropSlotOnDemand(client: Client, slot: OwnedSlot, options: DropOptions): Promise<number> {
  const { name, activePid, retainedBytes } = slot;
  const what = `replication slot ${name}`;
  refuseUnlessOurs(what, slot, dropSlotSql(name), options);
  if (activePid !== null && !options.isForced) throw inUse(name, activePid);
  if (!options.isConfirmed) return tellOnly(what, name, "slot", options);
  // Who has no --force ends nobody: a reader that came since is found by the server.
  if (options.isForced) await removeSlot(client, name, dropTimeoutMs);
  else await dropIdle(client, name);
  if ((await readSlotFacts(client, name)) !== null) {
    throw new SluiceError("internal", `${what} is still there`, { remedy: `Run ${dropSlotSql(name)}.` });
  }
  const freed = retainedBytes === null ? "" : `; it kept ${bytesText(retainedBytes)} of WAL`;
  if (options.asJson) printJson({ dropped: name, kind: "slot", retainedBytes });
  else print(`${what} is dropped${freed}`);
  return 0;
}

async function dropIdle(client: Client, name: string): Promise<void> {
  try {
    await client.query("SELECT pg_drop_replication_slot($1)", [name]);
  } catch (error) {
    const failure = toSourceError(error, `dropping replication slot ${name}`);
    if (failure.kind === "slot-in-use") throw inUse(name, (await readSlotFacts(client, name))?.activePid ?? null);
    // Dropped by another since we looked.
    if (failure.kind !== "missing-object") throw failure;
  }
}

/** Of the client's database. Event triggers of it that are ours go with it; its mark tells what replica identities were. */
export async function dropPublicationOnDemand(
  client: Client,
  publication: OwnedPublication,
  slots: readonly OwnedSlot[],
  options: DropOptions,
): Promise<number> {
  const { name, ownership, database } = publication;
  const quoted = quoteIdentifier(name);
  const what = `publication ${quoted}`;
  refuseUnlessOurs(what, publication, `DROP PUBLICATION ${quoted}`, options);
  const id = ownership.kind === "foreign" ? null : ownership.pipelineId;
  const slot = slots.find(
    (one) => one.database === database && one.ownership.kind !== "foreign" && one.ownership.pipelineId === id,
  );
  if (slot !== undefined && !options.isForced) {
    throw new SluiceError("slot-in-use", `${what} has a slot, ${slot.name}, that can't be read without it`, {
      remedy: `Drop the slot first: sluice slots --drop ${slot.name}; or add --force.`,
    });
  }
  if (!options.isConfirmed) return tellOnly(what, name, "publication", options);
  const identities = await inIdentityTransaction(client, async () => {
    const comment = (await readPublication(client, { name }))?.comment ?? null;
    if (id !== null) await setDdlCapture(client, name, ownershipMark(id), false);
    await dropPublication(client, name);
    const changed = parseMark(comment)?.identities ?? [];
    await restoreIdentities(client, changed, []);
    return changed;
  });
  const left = await tablesWithAnother(client, identities);
  if ((await readPublication(client, { name })) !== null) {
    throw new SluiceError("internal", `${what} is still there`, { remedy: `Run DROP PUBLICATION ${quoted}.` });
  }
  if (options.asJson) printJson({ dropped: name, kind: "publication", identitiesLeft: left });
  else print(`${what} is dropped${identityText(identities.length - left.length, left)}`);
  return 0;
}

/** The tables, quoted, whose replica identity isn't the remembered one: they are published elsewhere, or another's. */
async function tablesWithAnother(client: Client, remembered: readonly PreviousIdentity[]): Promise<string[]> {
  const facts = await inspectTables(client, remembered);
  return remembered
    .filter((table, index) => {
      const identity = facts[index]?.identity;
      return identity !== undefined && !sameIdentity(identity, table.previous);
    })
    .map(quoteTable);
}

function identityText(restored: number, left: readonly string[]): string {
  const back = restored === 0 ? "" : `; replica identities of ${restored} table(s) are as they were before it`;
  return left.length === 0 ? back : `${back}; those of ${left.join(", ")}, published elsewhere or another's, stay`;
}

/** @throws SluiceError with the SQL for what is foreign, which isn't dropped by force either */
function refuseUnlessOurs(what: string, { ownership, stack }: Owned, sql: string, { isForced }: DropOptions): void {
  if (stack !== null && !isForced) {
    throw new SluiceError("name-taken", `${what} is in use by a stack: ${stack}`, {
      remedy: "Remove it there, by pulumi destroy; or add --force, and refresh the stack after.",
    });
  }
  if (stack !== null) return;
  switch (ownership.kind) {
    case "marked":
      return;
    case "named":
    case "unseen":
      if (isForced) return;
      throw new SluiceError(
        "name-taken",
        `${what} has a name as ours have, but ${ownership.kind === "named" ? "no publication with our mark" : "its database couldn't be looked into"}: it may be another product's (Lakeflow Connect names its own so)`,
        { remedy: "Find out whose it is; when it is ours, add --force." },
      );
    case "foreign":
      throw new SluiceError("name-taken", `${what} isn't ours, and is left alone`, {
        remedy: `If nothing needs it, run ${sql}.`,
      });
  }
}

function inUse(name: string, pid: number | null): SluiceError {
  return new SluiceError(
    "slot-in-use",
    `replication slot ${name} is read by ${pid === null ? "a session" : `pid ${pid}`}`,
    {
      remedy: "Stop its gateway first; or add --force, which ends that session.",
    },
  );
}

function tellOnly(what: string, name: string, kind: "slot" | "publication", { asJson }: DropOptions): number {
  if (asJson) printJson({ dropped: null, kind, wouldDrop: name });
  else print(`${what} would be dropped: add --yes`);
  return 1;
}
