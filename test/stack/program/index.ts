import { readFileSync } from "node:fs";
import * as pulumi from "@pulumi/pulumi";
import { PostgresIngestion, type PostgresIngestionArgs } from "pulumi-sluice";

/** `{ secretFile }` in the arguments is a secret with that file's content. */
function withSecrets(_: string, value: unknown): unknown {
  if (typeof value !== "object" || value === null || !("secretFile" in value)) return value;
  return pulumi.secret(readFileSync(String(value.secretFile), "utf8"));
}

// Whatever arguments a test wants, wrong ones too.
const args = JSON.parse(new pulumi.Config().require("args"), withSecrets) as PostgresIngestionArgs;
const ingestion = new PostgresIngestion("ingestion", args);

export const { slotName, publicationName, gatewayStatusPath, applierStatusPath, destinationPath } = ingestion;
export const costs = {
  publication: ingestion.publication.changeCost,
  gateway: ingestion.gateway.changeCost,
  pipeline: ingestion.pipeline.changeCost,
};
export const { source } = ingestion.connection;
