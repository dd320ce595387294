import * as pulumi from "@pulumi/pulumi";
import { type DestinationArgs, PostgresIngestion, type StagingArgs } from "pulumi-sluice";

const config = new pulumi.Config();

const ingestion = new PostgresIngestion("warehouse", {
  source: {
    host: config.require("host"),
    port: config.requireNumber("port"),
    database: config.require("database"),
    user: config.require("user"),
    password: { env: config.require("passwordEnv") },
  },
  tables: config.requireObject<string[]>("tables"),
  gateway: { staging: config.requireObject<StagingArgs>("staging") },
  destination: config.requireObject<DestinationArgs>("destination"),
  stateDir: config.require("stateDir"),
});

export const { slotName, publicationName, gatewayStatusPath, applierStatusPath, destinationPath } = ingestion;
