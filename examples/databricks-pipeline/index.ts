import * as pulumi from "@pulumi/pulumi";
import { PostgresIngestion, type WorkspaceArgs } from "pulumi-sluice";

const config = new pulumi.Config();
const workspace: WorkspaceArgs = {
  host: config.require("workspace"),
  clientId: config.require("clientId"),
  clientSecret: { env: "DATABRICKS_CLIENT_SECRET" },
};

const ingestion = new PostgresIngestion("orders", {
  source: {
    host: config.require("host"),
    database: config.require("database"),
    user: config.require("user"),
    password: { env: "SLUICE_PASSWORD" },
  },
  tables: config.requireObject<string[]>("tables"),
  gateway: { staging: { kind: "volume", volume: config.require("volume"), workspace } },
  destination: {
    kind: "databricks",
    mode: "pipeline",
    catalog: config.require("catalog"),
    schema: config.require("schema"),
    schedule: { quartzCron: "0 0/15 * * * ?" },
    // Before a destroy: pulumi config set protectTables false, and up.
    protectTables: config.getBoolean("protectTables") ?? true,
  },
  stateDir: config.require("stateDir"),
  preflight: config.get<"preview" | "up">("preflight"),
});

export const { publicationName, destinationPath, gatewayStatusPath } = ingestion;
export const pipeline = ingestion.declarative?.pipelineUrl;
