import * as pulumi from "@pulumi/pulumi";
import { type DeploymentArgs, PostgresIngestion, type WorkspaceArgs } from "pulumi-sluice";

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
    mode: "warehouse",
    ...workspace,
    warehouseId: config.require("warehouseId"),
    catalog: config.require("catalog"),
    schema: config.require("schema"),
  },
  stateDir: config.require("stateDir"),
  // As { "kind": "databricks" }: both processes as Databricks Apps, made by who DATABRICKS_HOST … name. Default: of this machine.
  deployment: config.getObject<DeploymentArgs>("deployment"),
  preflight: config.get<"preview" | "up">("preflight"),
});

export const { publicationName, destinationPath, gatewayStatusPath, applierStatusPath } = ingestion;
