// Contract: what a warehouse can't do with these inputs is said by the preview, with what helps; a destination of before is as it was.
import { afterEach, describe, expect, it, vi } from "vitest";
import { applierSpec } from "../../../provider/lifecycle/applier-process";
import { changesOf } from "../../../provider/lifecycle/comparison";
import {
  checkIngestionPipelineInputs,
  ingestionPipelineEffects,
} from "../../../provider/lifecycle/ingestion-pipeline-inputs";
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

afterEach(() => {
  vi.unstubAllEnvs();
});

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

  it("is of the workspace that the environment names, also for a process that has not that environment", () => {
    const { token: _token, host: _host, ...unsaid } = warehouse;
    for (const name of Object.keys(process.env).filter((each) => each.startsWith("DATABRICKS_")))
      vi.stubEnv(name, undefined);
    vi.stubEnv("DATABRICKS_CONFIG_FILE", "/nowhere/databrickscfg");
    expect(checkIngestionPipelineInputs(inputs(unsaid)).failures).toMatchObject([
      { property: "destination", reason: expect.stringMatching(/no workspace is named\n {2}remedy: /) },
    ]);
    vi.stubEnv("DATABRICKS_HOST", "adb-2.azuredatabricks.net");
    vi.stubEnv("DATABRICKS_TOKEN", "dapi");
    const checked = checkIngestionPipelineInputs(inputs(unsaid));
    expect(checked.failures).toEqual([]);
    const found = { host: "https://adb-2.azuredatabricks.net", token: { env: "DATABRICKS_TOKEN" } };
    expect(applierSpec(checked.inputs)).toMatchObject({
      config: { destination: found },
      secretVariables: ["DATABRICKS_TOKEN"],
    });
    expect(JSON.stringify(checked.inputs)).not.toContain("dapi");
    vi.stubEnv("DATABRICKS_TOKEN", undefined);
    // What was known before is known where a refresh or a delete runs without the environment.
    expect(checkIngestionPipelineInputs(inputs(unsaid), checked.inputs)).toMatchObject({
      failures: [],
      inputs: { destination: found },
    });
  });

  it("restarts the process by how it is written, and copies tables by where they are", () => {
    const change = (more: object) =>
      changesOf(ingestionPipelineEffects, inputs(warehouse), inputs({ ...warehouse, ...more })).map(
        ({ effect }) => effect,
      );
    expect(change({ parallelMax: 8, token: { env: "ANOTHER" } })).toEqual(["restart"]);
    expect(change({ schema: "other" })).toEqual(["resnapshot"]);
    expect(change({ host: "https://adb-3.azuredatabricks.net" })).toEqual(["resnapshot"]);
  });
});
