import * as pulumi from "@pulumi/pulumi";
import { PostgresIngestion } from "pulumi-sluice";

const config = new pulumi.Config();

const ingestion = new PostgresIngestion("ingestion", {
  source: {
    host: config.require("host"),
    port: config.getNumber("port"),
    database: config.require("database"),
    user: config.require("user"),
    password: { env: "SLUICE_PASSWORD" },
  },
  tables: config.requireObject<string[]>("tables"),
  destination: { kind: "local", path: config.require("destination") },
  stateDir: config.require("stateDir"),
});

export const { slotName, publicationName, gatewayStatusPath, applierStatusPath, destinationPath } = ingestion;
