import { readFileSync } from "node:fs";
import * as pulumi from "@pulumi/pulumi";
import { PostgresIngestion, type PostgresIngestionArgs, Publication, ReplicationSlot } from "pulumi-sluice";

/** `{ secretFile }` in the arguments is a secret with that file's content. */
function withSecrets(_: string, value: unknown): unknown {
  if (typeof value !== "object" || value === null || !("secretFile" in value)) return value;
  return pulumi.secret(readFileSync(String(value.secretFile), "utf8"));
}

// Whatever arguments a test wants, wrong ones too.
const args = JSON.parse(new pulumi.Config().require("args"), withSecrets) as PostgresIngestionArgs;
const retainOnDelete = new pulumi.Config().getBoolean("retainAll");
const ingestion = new PostgresIngestion("ingestion", args, { retainOnDelete });

export const { slotName, publicationName, gatewayStatusPath, applierStatusPath, destinationPath } = ingestion;
export const costs = {
  publication: ingestion.publication.changeCost,
  gateway: ingestion.gateway.changeCost,
  pipeline: ingestion.pipeline.changeCost,
};
export const { source } = ingestion.connection;

// A publication that exists, by its name.
const look = new pulumi.Config().get("look");
const looked = look === undefined ? undefined : Publication.get("looked", look, { source: args.source });
export const found = looked && { tables: looked.tables, owner: looked.owner, publicationName: looked.publicationName };

// And a slot.
const lookSlot = new pulumi.Config().get("lookSlot");
const lookedSlot = lookSlot && ReplicationSlot.get("looked", lookSlot, { source: args.source });
export const foundSlot = lookedSlot && { slotName: lookedSlot.slotName, lost: lookedSlot.lost };

// A slot that stays on the server when it is deleted, of a publication that exists.
const retain = new pulumi.Config().get("retain");
if (retain !== undefined) {
  const kept = { source, publicationName: retain, pipelineId: "kept", slotName: "kept_slot" };
  new ReplicationSlot("kept", kept, { retainOnDelete: true });
}
