import * as pulumi from "@pulumi/pulumi";
import { PostgresIngestion } from "pulumi-sluice";

const config = new pulumi.Config();

const ingestion = new PostgresIngestion(
  "orders",
  {
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
    // As the policy pack wants it.
    connection: { uncappedSlotWal: "error" },
    preflight: config.get<"preview" | "up">("preflight"),
  },
  // A merged mistake drops no slot.
  { protect: true },
);

export const { slotName, publicationName, destinationPath } = ingestion;
