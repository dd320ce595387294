// Contract: what is declared of Databricks' own pipelines has only inputs that the package's types have, every name said that
// the server would fill in; what they can't do is an error of the program before anything is declared, with what helps.
import { execFileSync } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join, resolve } from "node:path";
import * as pulumi from "@pulumi/pulumi";
import { describe, expect, it } from "vitest";
import { connectionOptions } from "../../provider/databricks/connection-options";
import { checkManagedInputs } from "../../provider/databricks/managed-inputs";
import { gatewayIgnored, ingestionIgnored } from "../../provider/databricks/pipeline-defaults";
import type { ManagedDestinationArgs, ManagedIngestionArgs } from "../../provider/index";
import type { Properties } from "../../provider/lifecycle/lifecycle";
import { answered, differences, recordedTypes, rulesOf } from "../support/databricks-resources";
import { type Declared, declaredBy } from "../support/declared-resources";
import { wrongInputs } from "../support/package-inputs";

// As it is compiled: code of the test runner can't be stored in a state.
const dist = resolve(__dirname, "../../dist/provider");
const { PostgresIngestion } = createRequire(__filename)(dist) as typeof import("../../provider/index");

const source = { host: "db.example.com", database: "shop", user: "sluice", password: "hush" };
const destination: ManagedDestinationArgs = { kind: "databricks", mode: "managed", catalog: "Main", schema: "Shop" };

const declare = (args: Partial<ManagedIngestionArgs>, more: Partial<ManagedDestinationArgs> = {}) =>
  declaredBy(
    () =>
      new PostgresIngestion("orders", {
        source,
        tables: ["public.orders"],
        ...args,
        destination: { ...destination, ...more },
      }),
  );

/** What is wrong with it, each by its input. */
const failureOf = (args: Partial<ManagedIngestionArgs>, more: object = {}) =>
  checkManagedInputs({ tables: ["public.orders"], ...args, destination: { ...destination, ...more } } as Properties)
    .failures.map(({ property, reason }) => `${property}: ${reason}`)
    .join("\n");

const find = (declared: Declared[], name: string) => declared.find((each) => each.name === name) as Declared;
const objectsOf = (declared: Declared[]) =>
  (find(declared, "orders-ingestion").inputs.ingestionDefinition as { objects: Record<string, object>[] }).objects;

const everything: [Partial<ManagedIngestionArgs>, Partial<ManagedDestinationArgs>] = [
  {
    tables: ["public.orders", { schema: "public", name: "Line.Items" }],
    schemas: ["crm"],
    tableOptions: [
      { table: "public.orders", mode: "scd2", exclude: ["note", "card"], key: ["id"], clusterBy: ["day"] },
      { table: { schema: "public", name: "Line.Items" }, destination: { schema: "Raw", name: "LineItems" } },
    ],
  },
  {
    tableMode: "scd2",
    staging: { catalog: "ops", schema: "landing", name: "orders_landing" },
    connection: { name: "Orders_DB", host: "10.0.0.4", port: 6432 },
    gateway: { name: "gw", policyId: "p1", nodeTypeId: "m5n.large", driverNodeTypeId: "r5n.xlarge", workers: 2 },
    ingestion: {
      name: "ing",
      tags: { team: "data" },
      notifications: { emailRecipients: ["a@example.com"], alerts: ["on-flow-failure"] },
    },
    schedule: { quartzCron: "0 0/15 * * * ?", timeZone: "Europe/Berlin", paused: true },
  },
];

describe("what is declared", () => {
  it.each([
    ["the least", {}, {}],
    ["everything", ...everything],
  ] as const)("has inputs of the package's types: %s", async (_, args, more) => {
    const declared = await declare(args, more);
    expect(declared.length).toBeGreaterThanOrEqual(3);
    expect(declared.flatMap(({ type, inputs }) => wrongInputs(type, inputs))).toEqual([]);
    expect(declared.map(({ type }) => type).filter((type) => !recordedTypes.includes(type))).toEqual([]);
  });

  it("is checked by a check that finds what is wrong", () => {
    const type = "databricks:index/pipeline:Pipeline";
    expect(wrongInputs(type, { gatewayDefinition: { connection: "x" }, clusters: {} })).toEqual([
      "gatewayDefinition.connectionName is missing",
      "gatewayDefinition.gatewayStorageCatalog is missing",
      "gatewayDefinition.gatewayStorageSchema is missing",
      "gatewayDefinition.connection isn't declared",
      "clusters isn't a list",
    ]);
    expect(
      wrongInputs(type, {
        continuous: "true",
        clusters: [{ numWorkers: "1" }],
        configuration: { a: 1 },
        tags: [],
        name: 1,
        ingestionDefinition: { objects: [{ table: "public.orders" }] },
      }),
    ).toEqual([
      "continuous isn't true or false",
      "clusters[0].numWorkers isn't a number",
      "configuration.a isn't a text",
      "tags isn't an object",
      "name isn't a text",
      "ingestionDefinition.objects[0].table isn't an object",
    ]);
    expect(wrongInputs("databricks:index/pipelines:Pipelines", {})).toHaveLength(1);
  });

  it("asks for another connection where the provider would leave the former's name", async () => {
    const declared = await declaredBy(
      (options) => new PostgresIngestion("orders", { source, tables: ["public.orders"], destination }, options),
    );
    const { options, type } = find(declared, "orders");
    expect(rulesOf(type).kept).toEqual(["name"]);
    expect(options.replaceOnChanges).toEqual(["name"]);
  });

  it("names every table's place and mode, in an order of its own", async () => {
    const declared = await declare(...everything);
    const names = { sourceCatalog: "shop", destinationCatalog: "main" };
    expect(objectsOf(declared)).toEqual([
      {
        schema: {
          ...names,
          sourceSchema: "crm",
          destinationSchema: "shop",
          tableConfiguration: { scdType: "SCD_TYPE_2" },
        },
      },
      {
        table: {
          ...names,
          ...{
            sourceSchema: "public",
            sourceTable: "Line.Items",
            destinationSchema: "raw",
            destinationTable: "lineitems",
          },
          tableConfiguration: { scdType: "SCD_TYPE_1" },
        },
      },
      {
        table: {
          ...names,
          ...{ sourceSchema: "public", sourceTable: "orders", destinationSchema: "shop", destinationTable: "orders" },
          tableConfiguration: {
            scdType: "SCD_TYPE_2",
            excludeColumns: ["card", "note"],
            primaryKeys: ["id"],
            clusteringColumns: ["day"],
          },
        },
      },
    ]);
    const { options } = find(declared, "orders").inputs;
    expect(options).toEqual({ host: "10.0.0.4", port: "6432", user: "sluice", password: "hush" });
  });

  it("is another connection's, where one that is there is named", async () => {
    const declared = await declare(
      { source: { ...source, password: { env: "NOT_SET_ANYWHERE" } } },
      { connection: "Shop_DB" },
    );
    expect(declared.map(({ name }) => name)).toEqual(["orders-gateway", "orders-ingestion"]);
    const { gatewayDefinition } = find(declared, "orders-gateway").inputs;
    expect(gatewayDefinition).toMatchObject({ connectionName: "shop_db" });
  });

  // A gateway that is changed, be it by tags alone, is restarted, and a snapshot that runs begins anew.
  it("has tags on the ingestion pipeline alone, and the gateway's are never compared, whoever has set them", async () => {
    const one = await declare({}, { ingestion: { tags: { team: "data" } } });
    const other = await declare({}, { ingestion: { tags: { team: "finance" } } });
    const gateway = find(one, "orders-gateway");
    expect(find(other, "orders-gateway").inputs).toEqual(gateway.inputs);
    const has = answered(gateway.type, { ...gateway.inputs, tags: { owner: "somebody" } });
    const ignored = gatewayIgnored(gateway.inputs.clusters !== undefined);
    expect(differences(gateway.type, has, gateway.inputs, ignored)).toEqual({ changed: [], replaces: [] });
    const [before, after] = [one, other].map((each) => find(each, "orders-ingestion").inputs);
    expect(differences(gateway.type, before, after, ingestionIgnored(true)).changed).toEqual(["tags.team"]);
  });

  it.each([["the least", {}, {}] as const, ["everything", ...everything] as const])(
    "doesn't differ from what the server makes of it: %s",
    async (_, args, more) => {
      const declared = await declare(args, more);
      for (const { type, name, inputs } of declared) {
        const ignored =
          name === "orders-gateway"
            ? gatewayIgnored(inputs.clusters !== undefined)
            : name === "orders-ingestion"
              ? ingestionIgnored(inputs.tags !== undefined)
              : [];
        const compare = (paths: string[]) => differences(type, answered(type, inputs), inputs, paths);
        expect(compare(ignored), name).toEqual({ changed: [], replaces: [] });
        // Without these paths a gateway would be made anew each time, which is what they are for.
        if (name === "orders-gateway") expect(compare([]).replaces).toEqual(["gatewayDefinition.connectionId"]);
      }
    },
  );
});

describe("is refused, with what helps:", () => {
  it.each([
    [
      "a mode that they don't have",
      { tableOptions: [{ table: "public.orders", mode: "append" }] },
      {},
      /tableOptions\[0\].mode: .*\n {2}remedy: /,
    ],
    [
      "options of ours",
      { tableOptions: [{ table: "public.orders", hash: ["id"], changeDataFeed: true }] },
      {},
      /tableOptions\[0\].hash: [\s\S]*tableOptions\[0\].changeDataFeed: /,
    ],
    [
      "options of a table that isn't carried",
      { tableOptions: [{ table: "public.other", include: ["id"] }] },
      {},
      /"?public"?\."?other"? isn't one of tables/,
    ],
    [
      "a column list of the publication",
      { tables: [{ table: "public.orders", columns: ["id"] }] },
      {},
      /goes by no column list/,
    ],
    ["a table of a schema that is carried", { schemas: ["public"] }, {}, /is carried as a whole/],
    ["two tables of one place", { tables: ["public.orders", "public.Orders"] }, {}, /would both be shop\.orders/],
    [
      "a name that Unity Catalog can't hold",
      { tables: [{ schema: "public", name: "a.b" }] },
      {},
      /tableOptions: destination/,
    ],
    ["no table", { tables: [] }, {}, /at least one table/],
    [
      "too many tables",
      { tables: Array.from({ length: 251 }, (_, index) => `public.t${index}`) },
      {},
      /251 tables, and one pipeline takes 250/,
    ],
    ["no place for staging", {}, { schema: undefined }, /destination\.staging\.schema: /],
    ["a catalog's name with a dot", {}, { catalog: "a.b" }, /destination\.catalog: /],
    [
      "a cron of five fields",
      {},
      { schedule: { quartzCron: "*/5 * * * *" } },
      /destination\.schedule\.quartzCron: .*six fields/,
    ],
    ["an input that there isn't", {}, { target: "x" } as object, /destination: .*target/],
  ] as [string, Partial<ManagedIngestionArgs>, Partial<ManagedDestinationArgs>, RegExp][])(
    "%s",
    (_, args, more, message) => expect(failureOf(args, more)).toMatch(message),
  );

  it.each([
    ["an address that it can't reach", { host: "127.0.0.1" }, /can't reach 127\.0\.0\.1, .*address of this machine/],
    ["no password", { password: undefined }, /needs the source's password/],
    ["a password that isn't there", { password: { env: "NOT_SET_ANYWHERE" } }, /NOT_SET_ANYWHERE is not set/],
  ])("of a connection %s", (_, more, message) => {
    expect(() => connectionOptions({}, { ...source, ...more })).toThrow(message);
    expect(connectionOptions({ host: "10.0.0.4" }, source).host).toBe("10.0.0.4");
  });

  it("inputs that are ours, before anything is declared", () => {
    const args = { source, tables: ["public.orders"], stateDir: "/var/lib/sluice", destination };
    expect(() => new PostgresIngestion("orders", args)).toThrow('mode "managed" has no stateDir');
  });
});

it("what isn't known yet is no failure", () => {
  const unknown = pulumi.runtime.unknownValue;
  expect(failureOf({ tables: unknown as never }, { catalog: unknown, schema: unknown, connection: unknown })).toBe("");
});

it("what is ours and isn't there says where to look instead", async () => {
  let message = "";
  await declaredBy(() => {
    const made = new PostgresIngestion("orders", { source, tables: ["public.orders"], destination });
    try {
      void made.gatewayStatusPath;
    } catch (error) {
      message = (error as Error).message;
    }
  });
  expect(message).toMatch(/there is no gatewayStatusPath: .*see managed/);
});

it("the package is loaded when something of it is declared, and not before", () => {
  const load = (then: string) =>
    execFileSync(process.execPath, [
      "-e",
      `const sluice = require(${JSON.stringify(dist)}); ${then};
       console.log(Object.keys(require.cache).filter((path) => path.includes("@pulumi/databricks/")).length)`,
    ])
      .toString()
      .trim();
  expect(load("")).toBe("0");
  expect(
    Number(load(`require(${JSON.stringify(join(dist, "databricks/package.js"))}).databricksPackage().Pipeline`)),
  ).toBeGreaterThan(1);
});

it("a program without the package runs, until something of it is declared", () => {
  const absent = `const { Module } = require("node:module"); const resolve = Module._resolveFilename;
    Module._resolveFilename = (request, ...rest) => {
      if (!request.startsWith("@pulumi/databricks")) return resolve(request, ...rest);
      throw Object.assign(new Error("Cannot find module"), { code: "MODULE_NOT_FOUND" });
    };`;
  const said = execFileSync(process.execPath, [
    "-e",
    `${absent} const { PostgresIngestion } = require(${JSON.stringify(dist)});
     const { databricksPackage } = require(${JSON.stringify(join(dist, "databricks/package.js"))});
     try { databricksPackage(); } catch ({ message, remedy }) { console.log(typeof PostgresIngestion, message, remedy); }`,
  ]).toString();
  expect(said).toMatch(/^function the package @pulumi\/databricks isn't installed Run npm install @pulumi\/databricks/);
});

it("the package is nobody's who doesn't ask for it, and in no type of ours", () => {
  const { dependencies, peerDependencies, peerDependenciesMeta } = JSON.parse(
    readFileSync(join(dist, "../../package.json"), "utf8"),
  ) as Record<string, Record<string, unknown>>;
  expect(dependencies["@pulumi/databricks"]).toBeUndefined();
  expect(peerDependencies["@pulumi/databricks"]).toBeDefined();
  expect(peerDependenciesMeta["@pulumi/databricks"]).toEqual({ optional: true });
  const declarations = readdirSync(dist).filter((name) => name.endsWith(".d.ts"));
  expect(declarations).toContain("managed-pipelines.d.ts");
  const naming = (words: string) =>
    declarations.filter((name) => readFileSync(join(dist, name), "utf8").includes(words));
  expect([naming('@pulumi/databricks"'), naming('databricks/package"')]).toEqual([[], []]);
});
