import * as pulumi from "@pulumi/pulumi";
import { PostgresIngestion, type PostgresIngestionArgs } from "pulumi-sluice";

// Whatever arguments a test wants, wrong ones too.
const args = new pulumi.Config().requireObject<PostgresIngestionArgs>("args");

export const { slotName, publicationName, gatewayStatusPath, applierStatusPath, destinationPath } =
  new PostgresIngestion("ingestion", args);
