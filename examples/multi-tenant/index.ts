import { join } from "node:path";
import * as pulumi from "@pulumi/pulumi";
import { PostgresIngestion } from "pulumi-sluice";

const config = new pulumi.Config();
// Set with `pulumi config set --path 'tenants[0]' acme`, or as JSON.
const tables = config.requireObject<string[]>("tables");

const pipelines = config.requireObject<string[]>("tenants").map(
  (tenant) =>
    [
      tenant,
      new PostgresIngestion(tenant, {
        source: {
          host: config.get("host") ?? "localhost",
          port: config.getNumber("port"),
          database: config.require("database"),
          user: config.require("user"),
          password: { env: config.get("passwordEnv") ?? "SLUICE_PASSWORD" },
        },
        tables: tables.map((name) => ({ schema: tenant, name })),
        // Each has a lake of its own, so that readers of one can be kept from another's.
        destination: { kind: "local", path: join(config.require("destination"), tenant) },
        stateDir: config.require("stateDir"),
      }),
    ] as const,
);

export const slots = Object.fromEntries(pipelines.map(([tenant, { slotName }]) => [tenant, slotName]));
export const lakes = Object.fromEntries(pipelines.map(([tenant, { destinationPath }]) => [tenant, destinationPath]));
export const status = Object.fromEntries(
  pipelines.map(([tenant, { applierStatusPath }]) => [tenant, applierStatusPath]),
);
