import * as pulumi from "@pulumi/pulumi";
import { type DeploymentArgs, PostgresIngestion } from "pulumi-sluice";

const config = new pulumi.Config();

const ingestion = new PostgresIngestion("quickstart", {
  source: {
    host: config.require("host"),
    port: config.getNumber("port") ?? 5432,
    database: config.require("database"),
    user: config.require("user"),
    password: { env: config.get("passwordEnv") ?? "SLUICE_PASSWORD" },
  },
  tables: config.requireObject<string[]>("tables"),
  destination: { kind: "local", path: config.require("destination") },
  stateDir: config.require("stateDir"),
  deployment: config.getObject<DeploymentArgs>("deployment"),
});

export const { slotName, publicationName, gatewayStatusPath, applierStatusPath, destinationPath } = ingestion;
