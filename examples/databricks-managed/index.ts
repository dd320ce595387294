import * as pulumi from "@pulumi/pulumi";
import { PostgresIngestion, type SecurablesArgs } from "pulumi-sluice";

const config = new pulumi.Config();

const ingestion = new PostgresIngestion("orders", {
  source: {
    host: config.require("host"),
    database: config.require("database"),
    user: config.require("user"),
    password: { env: "SLUICE_PASSWORD" },
  },
  tables: config.requireObject<string[]>("tables"),
  destination: {
    kind: "databricks",
    mode: "managed",
    catalog: config.require("catalog"),
    schema: config.require("schema"),
    staging: { schema: config.get("stagingSchema") ?? config.require("schema") },
    gateway: { policyId: config.get("policyId") },
    schedule: { quartzCron: "0 0/15 * * * ?" },
    // Before a destroy: pulumi config set protectTables false, and up.
    protectTables: config.getBoolean("protectTables") ?? true,
  },
  // What is made beside it, as { "create": ["schema", "clusterPolicy"], "principal": "…" }; default nothing.
  securables: config.getObject<SecurablesArgs>("securables"),
  preflight: config.get<"preview" | "up">("preflight"),
});

export const { slotName, publicationName, destinationPath } = ingestion;
export const gateway = ingestion.managed?.gatewayUrl;
export const pipeline = ingestion.managed?.ingestionUrl;
