import { join } from "node:path";
import { z } from "zod";
import { gatewayConfigSchema } from "../../runtime/config";
import { deploymentFolder } from "../deploy/staging-folder";
import { stagingPlaceOf } from "../deploy/target";
import { type Change, changesOf, compare, type Effects, same, strategySchema, withDrift } from "./comparison";
import { checkInputs, withDefaults } from "./input-check";
import type { CheckResult, DiffResult, Properties } from "./lifecycle";
import { absolutePathSchema } from "./local-place";
import { identifierSchema, newIncarnation, slotNameSchema } from "./names";
import { isOwn } from "./own-names";
import { sourceInputSchema, withoutPlainSecrets } from "./source-input";
import { completeStaging, stagingHostOf, stagingInputSchema } from "./staging-input";
import { processShape } from "./supervised-process";
import { tableNameSchema } from "./table-name";
import { isUnknown } from "./unknown-value";

export const shape = {
  ...processShape,
  /** default: the slot's name */
  deploymentId: processShape.deploymentId.optional(),
  source: sourceInputSchema,
  publicationName: identifierSchema,
  slotName: slotNameSchema,
  /** tells the slot from the one that had its name before: a new slot needs a new staging */
  slotIncarnation: z.string().min(1),
  /** default: `<stateDir>/<deploymentId>/staging` */
  stagingPath: absolutePathSchema.optional(),
  /** where else than in a folder of the machine, or a folder too */
  staging: stagingInputSchema,
  adopt: z.boolean().optional(),
  batch: gatewayConfigSchema.shape.batch,
  spool: gatewayConfigSchema.shape.spool,
  snapshot: gatewayConfigSchema.shape.snapshot,
  types: gatewayConfigSchema.shape.types,
  beforeImages: z.array(tableNameSchema).default([]),
  schemaChanges: gatewayConfigSchema.shape.schemaChanges,
  pollMs: gatewayConfigSchema.shape.pollMs,
  silenceMsMax: gatewayConfigSchema.shape.silenceMsMax,
  onSlotLost: gatewayConfigSchema.shape.onSlotLost,
  heartbeatMs: gatewayConfigSchema.shape.heartbeatMs,
  health: gatewayConfigSchema.shape.health,
  strategy: strategySchema.optional(),
  switchTimeoutMs: z.int().min(1_000).max(2_147_483_647).optional(),
};

/** Pure but for the incarnation that it makes for a new gateway. */
export function checkGatewayInputs(olds: Properties, news: Properties): CheckResult {
  const { inputs, failures } = checkInputs(shape, news);
  inputs.incarnation = olds.incarnation ?? newIncarnation();
  inputs.deploymentId ??= inputs.slotName;
  const takesOver = olds.incarnation === undefined ? isOwn("switch", String(inputs.slotIncarnation)) : olds.takesOver;
  if (takesOver === true) inputs.takesOver = true;
  const isPlaced = known(inputs.stateDir) && known(inputs.deploymentId);
  const defaultPath = isPlaced
    ? join(deploymentFolder(String(inputs.stateDir), String(inputs.deploymentId)), "staging")
    : undefined;
  failures.push(...completeStaging(olds, inputs, defaultPath));
  return { inputs, failures };
}

export const known = (value: unknown): value is string => typeof value === "string" && !isUnknown(value);

/** Another slot or publication, or another place for staging, is another gateway; settings restart the process. */
export const gatewayEffects: Effects = {
  source: { part: "database", effect: "newSlot", else: "restart" },
  publicationName: "newSlot",
  slotName: "newSlot",
  slotIncarnation: "newSlot",
  deploymentId: "newStaging",
  stateDir: "newStaging",
  deployment: { part: "place of staging", of: stagingPlaceOf, effect: "newStaging", else: "restart" },
  stagingPath: "newStaging",
  staging: { part: "workspace.host", of: stagingHostOf, effect: "newStaging", else: "restart" },
  /** decides when it is made */
  adopt: "none",
  batch: "restart",
  spool: "restart",
  snapshot: "restart",
  types: "resnapshot",
  beforeImages: "restart",
  schemaChanges: "restart",
  pollMs: "restart",
  silenceMsMax: "restart",
  onSlotLost: "restart",
  heartbeatMs: "restart",
  health: "restart",
  httpPort: "restart",
  startTimeoutMs: "none",
  stopTimeoutMs: "none",
  forceDelete: "none",
  strategy: "none",
  switchTimeoutMs: "none",
  preflight: "none",
};

export const withOptions = (kept: Properties) => withDefaults(shape, kept);

/** Pure: what two gateways that run beside each other can't both have. */
export function sharedPlaces(olds: Properties, news: Properties): string[] {
  return ["slotName", "deploymentId", "stagingPath", "httpPort"].filter(
    (input) => news[input] !== undefined && same(olds[input], news[input]),
  );
}

/** Pure. */
export function diffGateway(olds: Properties, news: Properties): DiffResult {
  const clashes = sharedPlaces(olds, news).length > 0;
  return withDrift(compare(gatewayEffects, withOptions(olds), withOptions(news), clashes), olds);
}

/** Pure. Another value of a secret is a file that the process reads at its next connection. */
export function gatewayChanges(olds: Properties, news: Properties): Change[] {
  const sources = [olds.source, news.source].map((source) => withoutPlainSecrets((source ?? {}) as Properties));
  return changesOf(gatewayEffects, withOptions(olds), news).map((change) =>
    change.input === "source" && same(sources[0], sources[1]) ? { ...change, effect: "inPlace" } : change,
  );
}
