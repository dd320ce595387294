import { createHash } from "node:crypto";
import * as pulumi from "@pulumi/pulumi";
import { SluiceError } from "../runtime/errors";
import { knownNow } from "./databricks/known-inputs";
import { databricksPackage } from "./databricks/package";
import { declareSchedule, type Schedule } from "./databricks/pipeline-schedule";
import { checkDeclarativeInputs, type DeclarativeDestination, pipelineTables } from "./declarative/declarative-inputs";
import { pipelineSource } from "./declarative/pipeline-source";
import type { Gateway } from "./gateway";
import type { TableOptionsArgs } from "./ingestion-pipeline";
import type { Properties } from "./lifecycle/lifecycle";
import { orEndProgram, soundInputs } from "./program-error";
import type { PublishedTableArgs } from "./publication";
import type { Table } from "./source";

/** A condition that a table's rows are to meet (Databricks: an expectation). */
export interface ExpectationArgs {
  table: Table;
  name: string;
  /** A SQL expression over the table's columns. */
  condition: string;
  /** Of rows that don't meet it: `warn` counts them (default), `drop` leaves them out, `fail` ends the update. */
  action?: "warn" | "drop" | "fail";
}

/**
 * Streaming tables of a Databricks workspace, written by a declarative pipeline that is made for these tables out of our
 * staging, which is in a Unity Catalog volume.
 */
export interface PipelineDestinationArgs {
  kind: "databricks";
  mode: "pipeline";
  /** Of the tables. Another one replaces the pipeline, and with it its tables. */
  catalog: pulumi.Input<string>;
  /** Of all tables whose options name no other. */
  schema: pulumi.Input<string>;
  /** Default `<project>-<stack>-<name>`; unique in the workspace. */
  name?: pulumi.Input<string>;
  /** Of the workspace, for the pipeline's source; default `/Workspace/Shared/sluice/<project>-<stack>-<name>`. */
  folder?: pulumi.Input<string>;
  /** It runs for good, else once each time it is triggered; default false. */
  continuous?: pulumi.Input<boolean>;
  /** When it is triggered, in Quartz's syntax (`0 0/15 * * * ?`), by a job; default: when somebody does. `timeZone` is by default UTC. */
  schedule?: { quartzCron: pulumi.Input<string>; timeZone?: pulumi.Input<string>; paused?: pulumi.Input<boolean> };
  /** What rows are to meet. */
  expectations?: pulumi.Input<pulumi.Input<ExpectationArgs>[]>;
  /** Who is told of its updates: `alerts` are `on-update-success`, `on-update-failure`, `on-update-fatal-failure`, `on-flow-failure`. */
  notifications?: pulumi.Input<{ emailRecipients: string[]; alerts: string[] }>;
  tags?: pulumi.Input<Record<string, pulumi.Input<string>>>;
  /** The pipeline can't be deleted or replaced, as its tables go with it; default true. Before `destroy`: false, and `up`. */
  protectTables?: boolean;
}

export interface DeclarativePipelineArgs {
  /** Stages the tables, in a volume; it goes after the pipeline. */
  gateway: Gateway;
  /** As the publication's; they are named, as the pipeline's source declares each. */
  tables?: pulumi.Input<pulumi.Input<Table | PublishedTableArgs>[]>;
  /** Modes `scd1`, `scd2` and `append`; what AUTO CDC has nothing for is refused. */
  tableOptions?: pulumi.Input<pulumi.Input<TableOptionsArgs>[]>;
  /** Where the tables go, and when. */
  destination: PipelineDestinationArgs;
  /** What has to be there first, and goes last: grants on catalog, schema and volume. */
  after?: pulumi.Resource[];
}

/** A serverless declarative pipeline over a gateway's staging: its source, itself, and a job that triggers it. */
export class DeclarativePipeline extends pulumi.ComponentResource {
  /** Id of the pipeline in the workspace. */
  readonly pipelineId: pulumi.Output<string>;
  /** Its page in the workspace. */
  readonly pipelineUrl: pulumi.Output<string>;
  /** The source's file in the workspace. */
  readonly sourcePath: pulumi.Output<string>;
  /** `catalog.schema` */
  readonly destinationPath: pulumi.Output<string>;

  constructor(name: string, args: DeclarativePipelineArgs, options?: pulumi.ComponentResourceOptions) {
    super("sluice:index:DeclarativePipeline", name, {}, options);
    const { gateway, tables, tableOptions } = args;
    const { protectTables, ...destination } = args.destination;
    const given = { tables, tableOptions, destination };
    soundInputs(this, checkDeclarativeInputs(knownNow(given) as Properties));
    const databricks = orEndProgram(this, databricksPackage);
    const parsed = pulumi.output(given).apply((all) => soundInputs(this, checkDeclarativeInputs(all as Properties)));
    const setting = <T>(read: (all: DeclarativeDestination) => T) =>
      parsed.apply((all) => read(all.destination as DeclarativeDestination));
    const child = { parent: this };
    const dependsOn = [gateway, ...(args.after ?? [])];
    const protect = protectTables ?? true;
    const label = [pulumi.getProject(), pulumi.getStack(), name].join("-");
    const source = pulumi
      .all([parsed, gateway.stagingPath])
      .apply(([inputs, stagingPath]) => orEndProgram(this, () => sourceOf(inputs, stagingPath)));
    const folder = setting((all) => all.folder ?? `/Workspace/Shared/sluice/${label}`);
    const file = new databricks.WorkspaceFile(
      name,
      {
        path: folder.apply((path) => `${path.replace(/^\/Workspace\//, "/")}/pipeline.py`),
        contentBase64: source.apply((content) => Buffer.from(content, "utf8").toString("base64")),
      },
      { ...child, dependsOn },
    );
    this.sourcePath = file.path.apply((path) => `/Workspace${path}`);
    const pipeline = new databricks.Pipeline(
      name,
      {
        allowDuplicateNames: false,
        development: false,
        serverless: true,
        channel: "CURRENT",
        name: setting((all) => all.name ?? label),
        catalog: setting(({ catalog }) => catalog),
        schema: setting(({ schema }) => schema),
        continuous: setting(({ continuous }) => continuous),
        rootPath: folder.apply((path) => (path.startsWith("/Workspace/") ? path : `/Workspace${path}`)),
        libraries: [{ file: { path: this.sourcePath } }],
        // A change of the source is one of the pipeline: what runs for good begins anew with it.
        configuration: { "sluice.source": source.apply(digest) },
        ...(destination.tags === undefined ? {} : { tags: destination.tags }),
        ...(destination.notifications === undefined
          ? {}
          : { notifications: [pulumi.output(destination.notifications)] }),
      },
      {
        ...child,
        protect,
        dependsOn,
        // The plug-in would move the pipeline in place, away from its tables.
        replaceOnChanges: ["catalog"],
        deleteBeforeReplace: true,
        ignoreChanges: [
          "expectedLastModified",
          "target",
          "budgetPolicyId",
          "usagePolicyId",
          "photon",
          "clusters",
          ...(destination.tags === undefined ? ["tags"] : []),
        ],
      },
    );
    if (destination.schedule !== undefined) {
      declareSchedule(
        name,
        { label, schedule: setting(({ schedule }) => schedule as Schedule), task: "pipeline", pipelineId: pipeline.id },
        // A destroy that is refused leaves the schedule too.
        { ...child, protect },
      );
    }
    this.pipelineId = pipeline.id;
    this.pipelineUrl = pipeline.url;
    this.destinationPath = setting(({ catalog, schema }) => `${catalog}.${schema}`);
    this.registerOutputs({
      pipelineId: this.pipelineId,
      pipelineUrl: this.pipelineUrl,
      sourcePath: this.sourcePath,
      destinationPath: this.destinationPath,
    });
  }
}

/** @throws SluiceError `config` */
function sourceOf(inputs: Properties, stagingPath: string): string {
  if (!stagingPath.startsWith("/Volumes/")) {
    throw new SluiceError("config", `a declarative pipeline can't read ${stagingPath}, a folder of another machine`, {
      remedy:
        'Stage into a Unity Catalog volume: gateway: { staging: { kind: "volume", volume: "catalog.schema.volume" } }.',
    });
  }
  const { catalog, schema } = inputs.destination as DeclarativeDestination;
  return pipelineSource({ stagingPath, catalog, schema, tables: pipelineTables(inputs) });
}

/** Short, and no secret: to tell one source from another. */
function digest(content: string): string {
  return createHash("sha256").update(content).digest("hex").slice(0, 16);
}
