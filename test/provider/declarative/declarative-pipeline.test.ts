// Contract: what is declared of a declarative pipeline has only inputs that the package's types have; its source is the one of
// its tables and its staging; what it can't do is an error of the program before anything is declared.
import { createRequire } from "node:module";
import { resolve } from "node:path";
import * as pulumi from "@pulumi/pulumi";
import { describe, expect, it } from "vitest";
import { checkDeclarativeInputs } from "../../../provider/declarative/declarative-inputs";
import { pipelineSource } from "../../../provider/declarative/pipeline-source";
import type { Gateway, PipelineDestinationArgs, PostgresIngestionArgs } from "../../../provider/index";
import type { Properties } from "../../../provider/lifecycle/lifecycle";
import { defaultTableOptions } from "../../../runtime/table-options";
import { type Declared, declaredBy } from "../../support/declared-resources";
import { wrongInputs } from "../../support/package-inputs";

// As it is compiled: code of the test runner can't be stored in a state.
const dist = resolve(__dirname, "../../../dist/provider");
const { DeclarativePipeline, PostgresIngestion } = createRequire(__filename)(
  dist,
) as typeof import("../../../provider/index");
const { Grant } = createRequire(__filename)("@pulumi/databricks") as typeof import("@pulumi/databricks");

const destination: PipelineDestinationArgs = { kind: "databricks", mode: "pipeline", catalog: "Main", schema: "shop" };
const given: PostgresIngestionArgs = {
  source: { host: "db.example.com", database: "shop", user: "sluice", password: "hush" },
  tables: ["public.orders", { table: "public.events", columns: ["id", "what"] }],
  gateway: { staging: { kind: "volume", volume: "main.sluice.staging", path: "shop" } },
  stateDir: "/var/lib/sluice",
  destination,
};

const declare = (more: Partial<PipelineDestinationArgs> = {}, args: Partial<PostgresIngestionArgs> = {}) =>
  declaredBy(
    (options) =>
      new PostgresIngestion("orders", { ...given, ...args, destination: { ...destination, ...more } }, options),
  );

const failuresOf = (more: object, args: object = {}) =>
  checkDeclarativeInputs({
    tables: ["public.orders"],
    ...args,
    destination: { ...destination, ...more },
  } as Properties).failures.map(({ property, reason }) => `${property}: ${reason}`);

const typed = (declared: Declared[], type: string) =>
  declared.filter((each) => each.type.endsWith(`:${type}`)).map(({ inputs }) => inputs);

describe("a declarative pipeline", () => {
  it("is a file, a pipeline and a job of the workspace, by the package's types", async () => {
    const declared = await declare(
      {
        schedule: { quartzCron: "0 0/15 * * * ?" },
        tags: { team: "data" },
        notifications: { emailRecipients: ["ops@example.com"], alerts: ["on-update-failure"] },
        expectations: [{ table: "public.orders", name: "priced", condition: "amount >= 0", action: "drop" }],
      },
      { tableOptions: [{ table: "public.events", mode: "append" }] },
    );
    expect(declared.map(({ type }) => type.split(":").at(-1)).sort()).toEqual(["Job", "Pipeline", "WorkspaceFile"]);
    expect(declared.flatMap(({ type, inputs }) => wrongInputs(type, inputs))).toEqual([]);
    const [file] = typed(declared, "WorkspaceFile");
    const [pipeline] = typed(declared, "Pipeline");
    const [job] = typed(declared, "Job");
    // Another catalog is another pipeline of the same name, which its protection refuses.
    const [ofPipeline] = declared.filter(({ type }) => type.endsWith(":Pipeline"));
    expect(ofPipeline.options).toMatchObject({
      replaceOnChanges: ["catalog"],
      deleteBeforeReplace: true,
      protect: true,
    });
    const source = Buffer.from(file.contentBase64 as string, "base64").toString("utf8");
    const options = (mode: "scd1" | "append") => ({ ...defaultTableOptions, mode });
    expect(source).toBe(
      pipelineSource({
        stagingPath: "/Volumes/main/sluice/staging/shop",
        catalog: "main",
        schema: "shop",
        tables: [
          {
            schema: "public",
            name: "orders",
            options: options("scd1"),
            expectations: [{ name: "priced", condition: "amount >= 0", action: "drop" }],
          },
          { schema: "public", name: "events", options: options("append") },
        ],
      }),
    );
    expect(pipeline).toMatchObject({
      serverless: true,
      continuous: false,
      catalog: "main",
      schema: "shop",
      libraries: [{ file: { path: `/Workspace${file.path}` } }],
      rootPath: "/Workspace/Shared/sluice/shop-dev-orders",
    });
    expect(job).toMatchObject({
      schedule: { quartzCronExpression: "0 0/15 * * * ?", timezoneId: "UTC", pauseStatus: "UNPAUSED" },
      tasks: [{ pipelineTask: { pipelineId: "orders-id" } }],
    });
  });

  it("begins anew with another source, and only then", async () => {
    const confOf = async (more: Partial<PipelineDestinationArgs>) =>
      typed(await declare(more), "Pipeline")[0].configuration;
    const before = await confOf({});
    expect(await confOf({ tags: { a: "b" } })).toEqual(before);
    expect(await confOf({ schema: "other" })).not.toEqual(before);
  });

  it("names the tables that AUTO CDC merges by a key to the preview", async () => {
    const args: PostgresIngestionArgs = {
      ...given,
      tables: ["public.orders", { table: { schema: "a.b", name: "c" } }, "public.events", "public.lines"],
      tableOptions: [
        { table: { schema: "public", name: "events" }, mode: "append" },
        { table: "public.lines", key: ["id"] },
      ],
    };
    const [publication] = await declaredBy(() => new PostgresIngestion("orders", args), "Publication");
    expect(publication.inputs.keyed).toEqual(["public.orders", { schema: "a.b", name: "c" }]);
  });

  it("is made after what is said to be there first", async () => {
    const declared = await declaredBy((options) => {
      const privileges = ["READ_VOLUME"];
      const grant = new Grant("grant", { volume: "main.sluice.staging", principal: "p", privileges });
      const gateway = new pulumi.ComponentResource("test:index:Gateway", "gateway") as unknown as Gateway;
      Object.assign(gateway, { stagingPath: pulumi.output("/Volumes/main/sluice/staging") });
      new DeclarativePipeline("orders", { gateway, tables: ["public.orders"], destination, after: [grant] }, options);
    });
    const dependencies = declared
      .filter(({ type }) => !type.endsWith(":Grant"))
      .map(({ type, options }) => [type.split(":").at(-1), (options.dependsOn as pulumi.Resource[]).length]);
    expect(dependencies).toEqual([
      ["WorkspaceFile", 2],
      ["Pipeline", 2],
    ]);
  });

  it("tells what it can't do, each by its input", () => {
    expect(failuresOf({ continuous: true, schedule: { quartzCron: "0 0 * * * ?" } }).join()).toContain(
      "has no schedule",
    );
    expect(failuresOf({ schedule: { quartzCron: "*/5 * * * *" } }).join()).toContain("a quartzCron has six fields");
    expect(failuresOf({ folder: "/tmp/x" }).join()).toContain("destination.folder");
    const soft = { tableOptions: [{ table: "public.orders", mode: "softDelete" }] };
    expect(failuresOf({}, soft).join()).toMatch(/^tableOptions\.mode: table public\.orders: .*\n {2}remedy: /);
    expect(failuresOf({})).toEqual([]);
  });

  it.each([
    [{ schemas: ["public"] }, "its source declares each table"],
    [{ applier: {} }, "there is no applier"],
    [{ gateway: {} }, "staging has to be in a Unity Catalog volume"],
  ] as [Partial<PostgresIngestionArgs>, string][])("has no use for %j", (args, reason) => {
    expect(() => new PostgresIngestion("orders", { ...given, ...args })).toThrow(reason);
  });
});
