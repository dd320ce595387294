// Contract: what an ingestion makes on Databricks is what is asked for, by inputs of the package's types; grants are those that
// the mode needs, each object once, and no more; what is there is only named; names that aren't known are refused.
import { readdirSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join, resolve } from "node:path";
import * as pulumi from "@pulumi/pulumi";
import { describe, expect, it } from "vitest";
import { neededBy, neededByReaders } from "../../provider/databricks/securable-grants";
import type { ManagedIngestionArgs, PostgresIngestionArgs, SecurablesArgs } from "../../provider/index";
import { recordedTypes, rulesOf } from "../support/databricks-resources";
import { type Declared, declaredBy } from "../support/declared-resources";
import { wrongInputs } from "../support/package-inputs";

// As it is compiled: code of the test runner can't be stored in a state.
const { PostgresIngestion } = createRequire(__filename)(
  resolve(__dirname, "../../dist/provider"),
) as typeof import("../../provider/index");

const source = { host: "db.example.com", database: "shop", user: "sluice", password: "hush" };
const managed = (securables?: SecurablesArgs, more: object = {}): ManagedIngestionArgs => ({
  source,
  tables: ["public.orders"],
  destination: {
    ...{ kind: "databricks", mode: "managed", catalog: "Main", schema: "Shop" },
    ...{ staging: { schema: "landing" }, ...more },
  },
  securables,
});
const warehouse = (securables?: SecurablesArgs): PostgresIngestionArgs => ({
  source,
  tables: ["public.orders"],
  destination: {
    ...{ kind: "databricks", mode: "warehouse", host: "https://adb-1.azuredatabricks.net" },
    ...{ token: { env: "TOKEN" }, warehouseId: "1", catalog: "main", schema: "shop" },
  },
  gateway: { staging: { kind: "volume", volume: "main.shop.staging" } },
  stateDir: "/var/lib/sluice",
  securables,
});
const everything: SecurablesArgs = {
  principal: "runner",
  readers: ["analysts"],
  secrets: { scope: "shop", key: "pw" },
};

const declare = async (args: ManagedIngestionArgs | PostgresIngestionArgs) => {
  const declared = await declaredBy((options) => new PostgresIngestion("orders", args, options));
  expect(declared.flatMap(({ type, inputs }) => wrongInputs(type, inputs))).toEqual([]);
  expect(declared.map(({ type }) => type).filter((type) => !recordedTypes.includes(type))).toEqual([]);
  // What the provider would rename with all that is in it, or not rename at all, is made anew.
  // So is a declarative pipeline, which it would move away from its tables.
  for (const { type, inputs, options } of declared) {
    const isDeclarative = type.endsWith(":Pipeline") && inputs.libraries !== undefined;
    expect(options.replaceOnChanges ?? []).toEqual(isDeclarative ? ["catalog"] : rulesOf(type).kept);
  }
  return declared;
};
const ofType = (declared: Declared[], type: string) =>
  declared.filter((each) => each.type.endsWith(`:${type}`)).map(({ inputs }) => inputs);

/** They are declared in no order of their own. */
const sorted = (values: unknown[]) =>
  values.map((value) => JSON.stringify(value, Object.keys(value as object).sort())).sort();

describe("an ingestion on Databricks makes", () => {
  it("nothing but the vendor's own, where all is there", async () => {
    const types = (await declare(managed())).map(({ type }) => type.split(":").at(-1));
    expect(types.sort()).toEqual(["Connection", "Pipeline", "Pipeline"]);
    expect(await declare(warehouse())).toEqual([]);
  });

  it("for the vendor's pipelines schema, policy, grants and secrets", async () => {
    const create: SecurablesArgs["create"] = ["catalog", "schema", "clusterPolicy"];
    const declared = await declare(managed({ ...everything, create, storageRoot: "s3://lake/main" }));
    expect(ofType(declared, "Catalog")).toEqual([{ name: "main", storageRoot: "s3://lake/main" }]);
    expect(ofType(declared, "Schema")).toEqual([{ catalogName: "main", name: "shop" }]);
    const grants = [
      { catalog: "main", principal: "runner", privileges: ["USE_CATALOG"] },
      { schema: "main.shop", principal: "runner", privileges: ["USE_SCHEMA", "CREATE_TABLE"] },
      { schema: "main.landing", principal: "runner", privileges: ["USE_SCHEMA", "CREATE_TABLE", "CREATE_VOLUME"] },
      { catalog: "main", principal: "analysts", privileges: ["USE_CATALOG"] },
      { schema: "main.shop", principal: "analysts", privileges: ["USE_SCHEMA", "SELECT"] },
      { foreignConnection: "shop_dev_orders", principal: "runner", privileges: ["USE_CONNECTION"] },
    ];
    expect(sorted(ofType(declared, "Grant"))).toEqual(sorted(grants));
    const [policy] = ofType(declared, "ClusterPolicy");
    expect(policy.policyFamilyId).toBe("job-cluster");
    // As the vendor's page has it.
    expect(JSON.parse(policy.policyFamilyDefinitionOverrides as string)).toEqual({
      cluster_type: { type: "fixed", value: "dlt" },
      num_workers: { type: "unlimited", defaultValue: 1, isOptional: true },
      runtime_engine: { type: "fixed", value: "STANDARD", hidden: true },
    });
    const [gateway] = ofType(declared, "Pipeline");
    expect(gateway.clusters).toMatchObject([{ policyId: "policy-1", applyPolicyDefaultValues: true }]);
    expect(ofType(declared, "Secret")).toEqual([{ scope: "shop", key: "pw", stringValue: "hush" }]);
    expect(ofType(declared, "SecretAcl")).toEqual([{ scope: "shop", principal: "runner", permission: "READ" }]);
  });

  it("for a warehouse the volume, and grants for files and tables", async () => {
    const declared = await declare(warehouse({ principal: "runner", create: ["schema", "volume"] }));
    expect(ofType(declared, "Volume")).toEqual([
      { catalogName: "main", schemaName: "shop", name: "staging", volumeType: "MANAGED" },
    ]);
    const grants = [
      { catalog: "main", privileges: ["USE_CATALOG"] },
      { schema: "main.shop", privileges: ["USE_SCHEMA", "CREATE_TABLE", "SELECT", "MODIFY"] },
      { volume: "main.shop.staging", privileges: ["READ_VOLUME", "WRITE_VOLUME"] },
    ];
    expect(sorted(ofType(declared, "Grant").map(({ principal: _, ...rest }) => rest))).toEqual(sorted(grants));
  });

  it("for a declarative pipeline the same, of staging and tables", async () => {
    const args = {
      ...warehouse({ principal: "runner", readers: ["analysts"], create: ["volume"] }),
      destination: { kind: "databricks", mode: "pipeline", catalog: "main", schema: "shop" },
    } as PostgresIngestionArgs;
    const declared = await declare(args);
    const grants = [
      { catalog: "main", principal: "runner", privileges: ["USE_CATALOG"] },
      { schema: "main.shop", principal: "runner", privileges: ["USE_SCHEMA", "CREATE_TABLE", "SELECT", "MODIFY"] },
      { volume: "main.shop.staging", principal: "runner", privileges: ["READ_VOLUME", "WRITE_VOLUME"] },
      { catalog: "main", principal: "analysts", privileges: ["USE_CATALOG"] },
      { schema: "main.shop", principal: "analysts", privileges: ["USE_SCHEMA", "SELECT"] },
    ];
    expect(sorted(ofType(declared, "Grant"))).toEqual(sorted(grants));
    expect(ofType(declared, "Volume")).toHaveLength(1);
    // Nothing runs before it may, or after it may no more.
    const waited = declared.find(({ type }) => type.endsWith(":Pipeline"))?.options.dependsOn as pulumi.Resource[];
    const kinds = waited.map((each) => each.constructor.name);
    expect(kinds.sort()).toEqual(["Gateway", ...grants.map(() => "Grant"), "Volume"].sort());
  });

  it("grants on every schema that tables are in, by source or by their options", async () => {
    const tables = ["Crm.people", { schema: "public", name: "lines" }, { table: "public.orders" }];
    const options = [{ table: "public.orders", destination: { schema: "Raw" } }];
    const spread = managed({ principal: "runner", readers: ["analysts"] }, { schema: undefined });
    const declared = await declare({ ...spread, tables, schemas: ["Web"], tableOptions: options });
    const on = (principal: string) =>
      ofType(declared, "Grant")
        .filter((grant) => grant.principal === principal && grant.schema !== undefined)
        .map(({ schema, privileges }) => [schema, privileges]);
    const places = ["main.raw", "main.crm", "main.public", "main.web"];
    expect(on("runner").sort()).toEqual(
      [
        ...places.map((place) => [place, ["USE_SCHEMA", "CREATE_TABLE"]]),
        ["main.landing", ["USE_SCHEMA", "CREATE_TABLE", "CREATE_VOLUME"]],
      ].sort(),
    );
    expect(on("analysts").sort()).toEqual(places.map((place) => [place, ["USE_SCHEMA", "SELECT"]]).sort());
    const named = await declare({ ...warehouse({ readers: ["analysts"] }), tableOptions: options });
    expect(ofType(named, "Grant").map(({ schema }) => schema)).toEqual([undefined, "main.shop", "main.raw"]);
  });

  it("secrets in a scope that is there", async () => {
    const declared = await declare(managed({ secrets: { scope: "there", existing: true } }));
    expect([ofType(declared, "SecretScope"), ofType(declared, "SecretAcl")]).toEqual([[], []]);
    expect(ofType(declared, "Secret")).toEqual([{ scope: "there", key: "source-password", stringValue: "hush" }]);
  });
});

it("every resource of the package that is made anywhere is declared in one of the three modes, where its inputs are checked", async () => {
  const schedule = { quartzCron: "0 0/15 * * * ?" };
  const create: SecurablesArgs["create"] = ["catalog", "schema", "volume"];
  const pipeline = { kind: "databricks", mode: "pipeline", catalog: "main", schema: "shop", schedule };
  const declared = [
    await declare(managed({ ...everything, create: ["catalog", "schema", "clusterPolicy"] }, { schedule })),
    await declare(warehouse({ ...everything, create })),
    await declare({ ...warehouse({ ...everything, create }), destination: pipeline } as PostgresIngestionArgs),
  ].flat();
  expect([...new Set(declared.map(({ type }) => type))].sort()).toEqual([...recordedTypes].sort());
  const root = resolve(__dirname, "../../provider");
  const texts = (readdirSync(root, { recursive: true }) as string[])
    .filter((name) => name.endsWith(".ts"))
    .map((name) => readFileSync(join(root, name), "utf8"));
  const named = texts.flatMap((text) => [
    ...[...text.matchAll(/new databricks\.(\w+)\(/g)].map(([, name]) => name),
    ...[...text.matchAll(/const \{ ([\w, ]+) \} = databricksPackage\(\)/g)].flatMap(([, names]) => names.split(", ")),
  ]);
  const recorded = recordedTypes.map((type) => type.split(":").at(-1));
  expect([...new Set(named)].sort()).toEqual(recorded.sort());
});

it("grants are of each object once", () => {
  const staging = { catalog: "main", schema: "shop" };
  expect(neededBy({ mode: "managed", catalog: "main", schema: "shop", staging })).toEqual([
    { type: "catalog", name: "main", privileges: ["USE_CATALOG"] },
    { type: "schema", name: "main.shop", privileges: ["USE_SCHEMA", "CREATE_TABLE", "CREATE_VOLUME"] },
  ]);
  expect(neededByReaders({ catalog: "main" })).toEqual([
    { type: "catalog", name: "main", privileges: ["USE_CATALOG"] },
  ]);
});

describe("is refused, with what helps:", () => {
  it.each([
    [
      "a name that isn't known",
      managed({ principal: "a" }, { catalog: pulumi.output("main") }),
      /destination\.catalog is a text in plain/,
    ],
    [
      "a volume where staging is in none",
      managed({ create: ["volume"] }),
      /there is no volume to make[\s\S]*gateway\.staging/,
    ],
    ["a place of a catalog that isn't made", managed({ storageRoot: "s3://lake" }), /is of a catalog that is made/],
    [
      "schemas that are known only later",
      {
        ...managed({ readers: ["a"] }, { schema: undefined }),
        tables: pulumi.output(["public.orders"]),
      } as ManagedIngestionArgs,
      /tables is known only later, and decides which schemas are granted on/,
    ],
    ["a policy for a warehouse", warehouse({ create: ["clusterPolicy"] }), /only the vendor's gateway has a cluster/],
    ["a principal that is a reader too", managed({ principal: "a", readers: ["a"] }), /is the principal too/],
    [
      "a local destination",
      { ...warehouse({}), destination: { kind: "local", path: "/lake" } } as PostgresIngestionArgs,
      /for a destination on Databricks/,
    ],
  ])("%s", async (_, args, message) => {
    let found = "";
    await declaredBy(() => {
      try {
        new PostgresIngestion("orders", args);
      } catch (error) {
        found = (error as Error).message;
      }
    });
    expect(found).toMatch(message);
  });
});
