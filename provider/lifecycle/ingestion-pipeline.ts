import { join } from "node:path";
import { z } from "zod";
import { applierConfigSchema, formerLogsMax, warehouseDestinationSchema } from "../../runtime/config";
import type { Applied, Deployment, ProcessSpec } from "../deploy/deployment";
import { processFiles } from "../deploy/process-files";
import { deploymentFolder, isSameOwner, removeIfEmpty } from "../deploy/staging-folder";
import type { DropTables } from "../deploy/table-drop";
import { type DeploymentOf, findDropObstacle, stagingPlaceOf } from "../deploy/target";
import { tellCost } from "./change-cost";
import { type Change, changesOf, compare, type Effects, same, withDrift } from "./comparison";
import { pick } from "./connection";
import { checkInputs, withDefaults } from "./input-check";
import type { CheckResult, DiffResult, Lifecycle, Properties } from "./lifecycle";
import { absolutePathSchema } from "./local-place";
import { printOnce } from "./own-names";
import { processProperties, soundProcess, tellVersion } from "./process-drift";
import {
  completePipelineStaging,
  stagingConfig,
  stagingInputSchema,
  stagingPlace,
  stagingVariables,
} from "./staging-input";
import {
  applyOrRestore,
  checkPlace,
  checkTarget,
  clearLeftover,
  type Placed,
  processDrift,
  processShape,
  undone,
} from "./supervised-process";
import { tableNameSchema } from "./table-name";
import {
  followedTableChanges,
  leavingTables,
  namedOptions,
  refreshedTables,
  refusedTableChanges,
  tableOptionsInputSchema,
} from "./table-options";
import { containsUnknown, isUnknown } from "./unknown-value";
import { destinationVariables, locationOf, warehouseObstacles } from "./warehouse-destination";

/** Where tables can be written; each with its own settings. */
const destinations = {
  local: z.strictObject({ kind: z.literal("local"), path: absolutePathSchema }),
  databricks: warehouseDestinationSchema,
} as const;
export type Destination = z.infer<(typeof destinations)["local"]> | z.input<(typeof destinations)["databricks"]>;

const destinationSchema = z.custom<Destination>().superRefine((value: unknown, context) => {
  const kinds = Object.keys(destinations);
  const known = `Use one of: ${kinds.map((kind) => `{ kind: "${kind}", … }`).join(", ")}.`;
  if (typeof value !== "object" || value === null || !("kind" in value)) {
    context.addIssue({ code: "custom", message: `a destination is an object with a kind\n  remedy: ${known}` });
    return;
  }
  if (isUnknown(value.kind)) return;
  const schema = destinations[value.kind as keyof typeof destinations];
  if (schema === undefined || !kinds.includes(String(value.kind))) {
    const message = `there is no destination of the kind ${JSON.stringify(value.kind)}\n  remedy: ${known}`;
    context.addIssue({ code: "custom", path: ["kind"], message });
    return;
  }
  for (const { path, message } of schema.safeParse(value).error?.issues ?? []) {
    context.addIssue({ code: "custom", path: [...path], message });
  }
});

export const shape = {
  ...processShape,
  /** the gateway's staging, and what tells it from one that was there before */
  stagingPath: absolutePathSchema,
  stagingIncarnation: z.string().min(1),
  /** the gateway's, where it has one */
  staging: stagingInputSchema,
  destination: destinationSchema,
  trigger: applierConfigSchema.shape.trigger,
  /** the publication's, for the preview only */
  tables: z.array(tableNameSchema).optional(),
  onRemove: applierConfigSchema.shape.onRemove,
  onDelete: z.enum(["keep", "drop"]).optional(),
  tableOptions: tableOptionsInputSchema,
  maintenance: applierConfigSchema.shape.maintenance,
  runsKeptMax: applierConfigSchema.shape.runsKeptMax,
  memoryBytesMax: applierConfigSchema.shape.memoryBytesMax,
};

export function checkIngestionPipelineInputs(news: Properties, olds: Properties = {}): CheckResult {
  const { inputs, failures } = checkInputs(shape, news);
  failures.push(...completePipelineStaging(olds, inputs));
  return { inputs, failures };
}

/** All restart the process, and its tables stay. Another staging holds new copies of all tables. */
export const ingestionPipelineEffects: Effects = {
  deploymentId: "restart",
  stateDir: "restart",
  deployment: { part: "place of staging", of: stagingPlaceOf, effect: "resnapshot", else: "restart" },
  stagingPath: "restart",
  stagingIncarnation: "resnapshot",
  staging: "restart",
  destination: "resnapshot",
  trigger: "restart",
  onRemove: "restart",
  onDelete: "none",
  tableOptions: "restart",
  maintenance: "restart",
  runsKeptMax: "restart",
  memoryBytesMax: "restart",
  httpPort: "restart",
  startTimeoutMs: "none",
  stopTimeoutMs: "none",
  forceDelete: "none",
  preflight: "none",
};

const withOptions = (kept: Properties) => withDefaults(shape, kept);

/**
 * Pure. A pipeline goes over to another staging in place. The incarnation is unknown only where an engine asks what has
 * to go before a gateway that is replaced stop-first: the applier must end before its staging does.
 */
export function diffIngestionPipeline(olds: Properties, news: Properties): DiffResult {
  const result = compare(ingestionPipelineEffects, withOptions(olds), withOptions(news));
  const replaces = isUnknown(news.stagingIncarnation) ? ["stagingIncarnation"] : [];
  return withDrift({ ...result, replaces, deleteBeforeReplace: replaces.length > 0 }, olds);
}

/** Pure. Tables whose options say so are copied again. */
function tellPipelineCost(olds: Properties | null, inputs: Properties): void {
  const changes = olds === null ? [] : changesOf(ingestionPipelineEffects, withOptions(olds), inputs);
  const tables = olds === null ? [] : refreshedTables(olds, inputs);
  const told = tables.length === 0 ? changes : changes.map(refreshing);
  const isAll = changes.some(({ effect }) => effect === "resnapshot");
  const copies = tables.length === 0 || isAll ? undefined : { tables, rows: null, bytes: null };
  tellCost("IngestionPipeline", inputs.deploymentId, olds, inputs, told, copies);
}

const refreshing = (change: Change): Change =>
  change.input === "tableOptions" ? { ...change, effect: "resnapshot" } : change;

/** Tells what a delete does with the tables, where that is new. */
function tellDelete(olds: Properties, inputs: Properties): void {
  const wanted = inputs.onDelete ?? "keep";
  if (containsUnknown(wanted) || wanted === (olds.onDelete ?? "keep")) return;
  const id = containsUnknown(inputs.deploymentId) ? "" : ` ${inputs.deploymentId}`;
  const { path } = inputs.destination as { path?: unknown };
  const where = typeof path === "string" && !isUnknown(path) ? ` in ${path}` : "";
  printOnce(
    wanted === "keep"
      ? `IngestionPipeline${id}: its delete leaves the Delta tables (onDelete: "keep")`
      : `warning: IngestionPipeline${id}: its delete drops the Delta tables that it made${where} (onDelete: "drop"); an update or a replacement leaves them`,
  );
}

/** Inputs that are parts of the configuration by their names. */
const configKeys = ["onRemove", "trigger", "maintenance", "runsKeptMax", "memoryBytesMax"];

/** The process as these inputs want it. */
export function applierSpec(inputs: Properties): ProcessSpec {
  const directory = join(folderOf(inputs), "applier");
  return {
    directory,
    config: {
      version: 1,
      role: "applier",
      id: inputs.deploymentId as string,
      statusPath: join(directory, processFiles.status),
      http: { port: (inputs.httpPort as number | undefined) ?? 0 },
      stagingPath: inputs.stagingPath as string,
      ...stagingConfig(inputs, directory),
      destination: inputs.destination as Destination,
      // A pipeline of before this option has a configuration without it.
      ...(inputs.tableOptions === undefined ? {} : { tables: namedOptions(inputs.tableOptions) }),
      ...pick(inputs, configKeys),
    },
    secretVariables: [...stagingVariables(inputs), ...destinationVariables(inputs.destination as Destination)],
    secretFiles: {},
    startTimeoutMs: inputs.startTimeoutMs as number,
    stopTimeoutMs: inputs.stopTimeoutMs as number,
  };
}

const folderOf = (inputs: Properties) => deploymentFolder(inputs.stateDir as string, inputs.deploymentId as string);

function outputs(inputs: Properties, applied: Applied): Properties {
  const { statusPath } = applierSpec(inputs).config;
  const destinationPath = locationOf(inputs.destination as Destination);
  return { ...inputs, statusPath, destinationPath, ...soundProcess, ...applied, drift: [] };
}

export function ingestionPipelineLifecycle(deploymentOf: DeploymentOf, drop?: DropTables): Lifecycle {
  /**
   * Deployments that the program of this run still has: it is only asked about these. A delete of one is part of a
   * replacement, of which an engine tells nothing.
   */
  const declared = new Set<string>();
  const declare = (props: Properties) => {
    const { stateDir, deploymentId } = props;
    if (typeof stateDir === "string" && typeof deploymentId === "string") declared.add(folderOf(props));
  };
  /** Folders in which this run has made a pipeline in the place of the one that was there (`pulumi up --replace`). */
  const taken = new Set<string>();
  const placed = (props: Properties): Placed => ({
    spec: applierSpec(props),
    target: props.deployment,
    deployment: deploymentOf(props.deployment),
  });
  return {
    async check(olds, news) {
      declare(olds);
      declare(news);
      const result = checkIngestionPipelineInputs(news, olds);
      const { inputs, failures } = result;
      failures.push(...refusedTableChanges(olds, inputs));
      for (const line of [...followedTableChanges(olds, inputs), ...leavingTables(olds, inputs)]) console.log(line);
      const keys = Object.keys(shape);
      const existing = olds.stagingIncarnation !== undefined;
      if (failures.length === 0) tellPipelineCost(existing ? olds : null, inputs);
      if (failures.length === 0) tellDelete(olds, inputs);
      const unchanged = existing && same(pick(olds, keys), pick(inputs, keys));
      if (failures.length > 0 || unchanged) return result;
      failures.push(...warehouseObstacles(inputs));
      const destination = inputs.destination as { kind?: unknown; path?: unknown } | undefined;
      const folders = [
        { property: "stateDir", path: inputs.stateDir },
        ...(destination?.kind === "databricks" ? [] : [{ property: "destination.path", path: destination?.path }]),
      ];
      failures.push(...(await checkPlace(deploymentOf, olds, inputs, folders)));
      if (inputs.onDelete === "drop" && !containsUnknown(inputs.deployment)) {
        const reason = findDropObstacle(inputs.deployment, process.geteuid?.());
        if (reason !== null) failures.push({ property: "onDelete", reason });
      }
      if (failures.length === 0) failures.push(...(await checkTarget(deploymentOf, inputs, applierSpec)));
      return result;
    },

    diff(_id, olds, news) {
      declare(olds);
      tellVersion("IngestionPipeline", olds);
      return diffIngestionPipeline(olds, news);
    },

    async create(inputs) {
      const spec = applierSpec(inputs);
      const deployment = deploymentOf(inputs.deployment);
      const isOurs = (config: { role: string; stagingPath: string }) =>
        config.role === "applier" && config.stagingPath === inputs.stagingPath;
      const wasThere = await clearLeftover(deployment, spec, isOurs);
      try {
        const applied = await deployment.apply(spec);
        if (wasThere) taken.add(spec.directory);
        return { id: inputs.deploymentId as string, outs: outputs(inputs, applied) };
      } catch (error) {
        throw await undone(error, () => remove(deployment, inputs));
      }
    },

    async read(id, props) {
      const spec = applierSpec(props);
      const found = await deploymentOf(props.deployment).inspect(spec.directory);
      const { settings, facts } = processProperties(found, props, configKeys);
      const now = { ...props, ...settings };
      return {
        id,
        props: { ...now, ...facts, drift: processDrift(found, spec) },
        inputs: pick(now, [...Object.keys(shape), "changeCost"]),
      };
    },

    async update(_id, olds, news) {
      // Read before anything can take the former staging away.
      const formerLogs = await formerLogsOf(deploymentOf(olds.deployment), olds, news);
      const applied = await applyOrRestore(placed(news), placed(olds));
      if (folderOf(olds) !== folderOf(news)) removeFolderHere(deploymentOf(olds.deployment), olds);
      return { outs: { ...outputs(news, applied), ...(formerLogs.length === 0 ? {} : { formerLogs }) } };
    },

    /** Stops the process. The tables stay, or by `onDelete` those that it made go, unless it is replaced. */
    async delete(_id, props) {
      if (taken.delete(applierSpec(props).directory)) {
        console.log(`IngestionPipeline ${props.deploymentId}: another one was made in its place, and goes on`);
        return;
      }
      await remove(deploymentOf(props.deployment), props);
      if (props.onDelete !== "drop") return;
      if (declared.has(folderOf(props))) {
        console.log(`IngestionPipeline ${props.deploymentId}: is replaced, its Delta tables stay`);
        return;
      }
      const deployment = deploymentOf(props.deployment);
      const spec = applierSpec(props);
      const { formerLogs } = props as { formerLogs?: string[] };
      // A property of the drop alone: no process has it.
      const config = { ...spec.config, ...(formerLogs === undefined ? {} : { formerLogs }) };
      await (drop ?? deployment.dropTables)({ ...spec, config } as ProcessSpec);
      removeFolderHere(deployment, props);
    },
  };
}

/**
 * Identities of the staging logs of which this pipeline's tables were made so far, newest last. A table has its former one
 * until the new one has filled it.
 */
async function formerLogsOf(deployment: Deployment, olds: Properties, news: Properties): Promise<string[]> {
  // Tables at a former place stay.
  if (!same(olds.destination, news.destination)) return [];
  const known = (olds.formerLogs as string[] | undefined) ?? [];
  const place = ["stagingPath", "stagingIncarnation"];
  if (same(pick(olds, place), pick(news, place))) return known;
  const logId = await readLogId(deployment, olds);
  return logId === null || known.includes(logId) ? known : [...known, logId].slice(-formerLogsMax);
}

/** Null where it can't be told: then its tables stay at a delete. */
async function readLogId(deployment: Deployment, props: Properties): Promise<string | null> {
  const { stagingPath, deploymentId, stagingIncarnation: incarnation } = props as Record<string, string>;
  try {
    const found = await stagingPlace(props, deployment).inspect(stagingPath, deploymentId);
    // One that another gateway has by now isn't the log that this pipeline has read.
    const isOwn = found.kind === "owned" && isSameOwner(found.owner, { deploymentId, incarnation });
    return isOwn && found.log !== undefined ? await found.log.readId() : null;
  } catch {
    return null;
  }
}

async function remove(deployment: Deployment, props: Properties): Promise<void> {
  const { directory, stopTimeoutMs } = applierSpec(props);
  await deployment.remove(directory, stopTimeoutMs);
  removeFolderHere(deployment, props);
}

function removeFolderHere(deployment: Deployment, props: Properties): void {
  if (deployment.isHere) removeIfEmpty(folderOf(props));
}
