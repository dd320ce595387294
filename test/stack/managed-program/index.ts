import * as pulumi from "@pulumi/pulumi";
import { type ManagedIngestionArgs, PostgresIngestion } from "pulumi-sluice";

// Whatever arguments a test wants, wrong ones too.
const args = new pulumi.Config().requireObject<ManagedIngestionArgs>("args");
const ingestion = new PostgresIngestion("ingestion", args);

export const { slotName, publicationName, destinationPath } = ingestion;
export const ingestionUrl = ingestion.managed?.ingestionUrl;
