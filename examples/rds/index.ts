import * as pulumi from "@pulumi/pulumi";
import { PostgresIngestion } from "pulumi-sluice";

const config = new pulumi.Config();

const ingestion = new PostgresIngestion("rds", {
  source: {
    host: config.require("host"),
    database: config.require("database"),
    user: config.require("user"),
    password: { env: "SLUICE_PASSWORD" },
    sslMode: "verify-full",
    sslRootCertFile: config.require("caFile"),
  },
  tables: config.requireObject<string[]>("tables"),
  destination: { kind: "local", path: config.require("destination") },
  stateDir: config.require("stateDir"),
  failover: config.getBoolean("failover"),
  connection: { flavour: config.get<"rds" | "aurora">("flavour") ?? "rds", uncappedSlotWal: "error" },
  // Previews run where the database can't be reached.
  preflight: "up",
  gateway: { onSlotLost: "resnapshot" },
});

export const { slotName, publicationName, destinationPath } = ingestion;
