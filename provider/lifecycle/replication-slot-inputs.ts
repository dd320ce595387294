import { z } from "zod";
import { type Change, changesOf, compare, type Effects, isReplacing, strategySchema, withOrder } from "./comparison";
import { checkInputs } from "./input-check";
import type { CheckResult, DiffResult, Properties } from "./lifecycle";
import { identifierSchema, newIncarnation, pipelineIdSchema, slotNameSchema } from "./names";
import { sourceInputSchema } from "./source-input";

export const shape = {
  source: sourceInputSchema,
  publicationName: identifierSchema,
  pipelineId: pipelineIdSchema,
  slotName: slotNameSchema.optional(),
  failover: z.boolean().optional(),
  adopt: z.boolean().optional(),
  onDelete: z.enum(["drop", "keep"]).optional(),
  /** the option of that name: the engine tells the provider nothing of a delete that it leaves out */
  retainOnDelete: z.boolean().optional(),
  reader: z.enum(["gateway", "databricks"]).optional(),
  createTimeoutMs: z.int().min(100).max(3_600_000).default(60_000),
  deleteTimeoutMs: z.int().min(100).max(3_600_000).default(30_000),
  forceDelete: z.boolean().optional(),
  strategy: strategySchema.optional(),
  preflight: z.enum(["preview", "up"]).default("preview"),
};

/** Pure but for the incarnation that it makes for a new slot. One that is replaced has no name yet but a given one. */
export function checkReplicationSlot(olds: Properties, news: Properties): CheckResult {
  const { inputs, failures } = checkInputs(shape, news);
  inputs.incarnation = olds.incarnation ?? newIncarnation();
  const isKept = olds.slotName !== undefined && !isReplacing(slotChanges(olds, inputs));
  if (inputs.slotName === undefined && isKept) inputs.slotName = olds.slotName;
  return { inputs, failures };
}

/** A slot belongs to one database and one publication; a lost one can only be made anew. */
export const replicationSlotEffects: Effects = {
  source: { part: "database", effect: "newSlot", else: "none" },
  publicationName: "newSlot",
  pipelineId: "newSlot",
  slotName: "newSlot",
  failover: "inPlace",
  /** decides when it is made */
  adopt: "none",
  onDelete: "none",
  retainOnDelete: "none",
  /** decides what is told */
  reader: "none",
  createTimeoutMs: "none",
  deleteTimeoutMs: "none",
  forceDelete: "none",
  strategy: "none",
  preflight: "none",
};

/** Slots of before an option don't have it. */
const normalised = (props: Properties): Properties => ({
  ...props,
  adopt: props.adopt ?? false,
  onDelete: props.onDelete ?? "drop",
  retainOnDelete: props.retainOnDelete ?? false,
  reader: props.reader ?? "gateway",
});

const keepingName = (olds: Properties, news: Properties): Properties =>
  normalised(news.slotName === undefined ? { ...news, slotName: olds.slotName } : news);

/** Pure: what differs; that the slot is lost too. */
export function slotChanges(olds: Properties, news: Properties): Change[] {
  const changes = changesOf(replicationSlotEffects, normalised(olds), keepingName(olds, news));
  return olds.lost === true ? [...changes, { input: "lost", effect: "newSlot" }] : changes;
}

/** Pure. Two of one name can't be there at the same time. */
export function diffReplicationSlot(olds: Properties, news: Properties): DiffResult {
  const clashes = news.slotName !== undefined && news.slotName === olds.slotName;
  const result = compare(replicationSlotEffects, normalised(olds), keepingName(olds, news), clashes);
  if (olds.lost !== true) return result;
  return withOrder({ ...result, changes: true, replaces: [...result.replaces, "lost"] }, news, clashes);
}

/** Pure: whether the slot stays on the server when its resource is deleted. */
export const isKeptAtDelete = ({ onDelete, retainOnDelete }: Properties): boolean =>
  onDelete === "keep" || retainOnDelete === true;
