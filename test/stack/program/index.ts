import * as pulumi from "@pulumi/pulumi";
import { PostgresIngestion, type PostgresIngestionArgs } from "pulumi-sluice";

// Whatever arguments a test wants, wrong ones too.
const args = new pulumi.Config().requireObject<PostgresIngestionArgs>("args");
const ingestion = new PostgresIngestion("ingestion", args);

export const { slotName, publicationName, gatewayStatusPath, applierStatusPath, destinationPath } = ingestion;
export const costs = {
  publication: ingestion.publication.changeCost,
  gateway: ingestion.gateway.changeCost,
  pipeline: ingestion.pipeline.changeCost,
};
