import { z } from "zod";
import { applierConfigSchema, warehouseDestinationSchema } from "../../runtime/config";
import { stagingPlaceOf } from "../deploy/target";
import { tellCost } from "./change-cost";
import { type Change, changesOf, compare, type Effects, withDrift } from "./comparison";
import { checkInputs, withDefaults } from "./input-check";
import type { CheckResult, DiffResult, Properties } from "./lifecycle";
import { absolutePathSchema } from "./local-place";
import { printOnce } from "./own-names";
import { completePipelineStaging, stagingInputSchema } from "./staging-input";
import { processShape } from "./supervised-process";
import { tableNameSchema } from "./table-name";
import { refreshedTables, tableOptionsInputSchema } from "./table-options";
import { containsUnknown, isUnknown } from "./unknown-value";
import { completeDestination, locationOf, placeOfTables } from "./warehouse-destination";

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
  /** which resource of which stack it is; no diff compares it */
  origin: z.string().optional(),
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
  failures.push(...completePipelineStaging(olds, inputs), ...completeDestination(olds, inputs));
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
  destination: { part: "place of the tables", of: placeOfTables, effect: "resnapshot", else: "restart" },
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
export function tellPipelineCost(olds: Properties | null, inputs: Properties): void {
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
export function tellDelete(olds: Properties, inputs: Properties): void {
  const wanted = inputs.onDelete ?? "keep";
  if (containsUnknown(wanted) || wanted === (olds.onDelete ?? "keep")) return;
  const id = containsUnknown(inputs.deploymentId) ? "" : ` ${inputs.deploymentId}`;
  const { destination } = inputs;
  const where = containsUnknown(destination) ? "" : ` in ${locationOf(destination as Destination)}`;
  printOnce(
    wanted === "keep"
      ? `IngestionPipeline${id}: its delete leaves the Delta tables (onDelete: "keep")`
      : `warning: IngestionPipeline${id}: its delete drops the Delta tables that it made${where} (onDelete: "drop"); an update or a replacement leaves them`,
  );
}
