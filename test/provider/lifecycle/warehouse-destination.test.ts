// Contract: what a warehouse can't do with these inputs is said by the preview, with what helps; a destination of before is as it was.
import { describe, expect, it } from "vitest";
import { checkIngestionPipelineInputs } from "../../../provider/lifecycle/ingestion-pipeline-inputs";
import {
  destinationVariables,
  locationOf,
  warehouseObstacles,
} from "../../../provider/lifecycle/warehouse-destination";

const warehouse = {
  kind: "databricks",
  mode: "warehouse",
  host: "https://adb-1.azuredatabricks.net",
  warehouseId: "0123456789abcdef",
  token: { env: "TOKEN_OF_A_TEST" },
  catalog: "main",
  schema: "lake",
  stagedPath: "/Volumes/main/sluice/staging/app",
} as const;
const inputs = (destination: object, more: object = {}) => ({
  deploymentId: "app",
  stateDir: "/var/lib/sluice",
  stagingPath: "/var/lib/sluice/app/staging",
  stagingIncarnation: "1",
  destination,
  ...more,
});
const properties = (destination: object, more: object = {}) => [
  ...checkIngestionPipelineInputs(inputs(destination, more)).failures,
  ...warehouseObstacles(inputs(destination, more)),
];

describe("a warehouse as destination", () => {
  it("is accepted with staging in a volume, in a container too", () => {
    expect(properties(warehouse)).toEqual([]);
    expect(properties(warehouse, { deployment: { kind: "docker" } })).toEqual([]);
    expect(properties(warehouse, { onDelete: "drop" })).toEqual([]);
    expect(locationOf(warehouse)).toBe("main.lake");
    expect(destinationVariables(warehouse)).toEqual(["TOKEN_OF_A_TEST"]);
  });

  it.each([
    ["destination.warehouseId", { ...warehouse, httpPath: "/sql/1.0/warehouses/1" }, {}],
    ["destination.catalog", { ...warehouse, catalog: "" }, {}],
    ["destination.clientSecret", { ...warehouse, token: undefined, clientId: "id" }, {}],
    ["destination.mode", { ...warehouse, mode: "pipeline" }, {}],
    ["destination.stagedPath", { ...warehouse, stagedPath: undefined }, {}],
    ["deployment", warehouse, { deployment: { kind: "kubernetes", namespace: "data" } }],
  ])("is refused at %s, with what helps", (property, destination, more) => {
    const found = properties(destination, more);
    expect(found.map((failure) => failure.property)).toEqual([property]);
    expect(found[0].reason).toMatch(/remedy: |Invalid|Too small|give|go together/);
  });

  it("leaves a folder as it was", () => {
    expect(properties({ kind: "local", path: "/data/lake" })).toEqual([]);
    expect(locationOf({ kind: "local", path: "/data/lake" })).toBe("/data/lake");
  });
});
