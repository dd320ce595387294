import * as pulumi from "@pulumi/pulumi";
import { PostgresIngestion } from "pulumi-sluice";

const config = new pulumi.Config();
// Of a stack whose state was lost; without one only the publication is taken over.
const slot = config.get("slot");

const ingestion = new PostgresIngestion("adopted", {
  source: {
    host: config.require("host"),
    port: config.getNumber("port"),
    database: config.require("database"),
    user: config.require("user"),
    password: { env: "SLUICE_PASSWORD" },
  },
  publicationName: config.require("publication"),
  publication: { adopt: true, onDelete: "keep" },
  slotName: slot,
  adopt: slot !== undefined,
  tables: config.requireObject<string[]>("tables"),
  destination: { kind: "local", path: config.require("destination") },
  stateDir: config.require("stateDir"),
});

export const { slotName, publicationName, destinationPath } = ingestion;
