import { setTimeout as pause } from "node:timers/promises";
import type { Client } from "pg";
import { z } from "zod";
import type { SourceConfig } from "../../runtime/config";
import { SluiceError } from "../../runtime/errors";
import { withAdmin, withCheck } from "../postgres/admin-session";
import { findSlotShortage, isInRecovery, readDatabaseOid } from "../postgres/preflight";
import { readPublication } from "../postgres/publication-statements";
import { alterSlotFailover, findFailoverProblems, readFailoverFacts } from "../postgres/slot-failover";
import {
  createSlot,
  dropSlotSql,
  listSlots,
  readSlotFacts,
  removeSlot,
  type SlotFacts,
} from "../postgres/slot-statements";
import { readSourceFacts } from "../postgres/source-facts";
import { tellCost } from "./change-cost";
import { type Change, changesOf, compare, type Effects, isReplacing, strategySchema, withOrder } from "./comparison";
import { pick } from "./connection";
import { checkInputs, nestedSource, sourceFailure } from "./input-check";
import type { CheckFailure, CheckResult, DiffResult, Lifecycle, Properties } from "./lifecycle";
import { withManualSql } from "./manual-sql";
import {
  identifierSchema,
  isGeneratedSlotName,
  isRandomPipelineId,
  newIncarnation,
  pipelineIdSchema,
  slotNameOf,
  slotNameSchema,
  successorSlotName,
} from "./names";
import { isOwn, printOnce, rememberOwn } from "./own-names";
import { readExistingSlot } from "./replication-slot-reading";
import { sourceInputSchema } from "./source-input";
import { containsUnknown } from "./unknown-value";

export const shape = {
  source: sourceInputSchema,
  publicationName: identifierSchema,
  pipelineId: pipelineIdSchema,
  slotName: slotNameSchema.optional(),
  failover: z.boolean().optional(),
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
  createTimeoutMs: "none",
  deleteTimeoutMs: "none",
  forceDelete: "none",
  strategy: "none",
  preflight: "none",
};

const keepingName = (olds: Properties, news: Properties): Properties =>
  news.slotName === undefined ? { ...news, slotName: olds.slotName } : news;

/** Pure: what differs; that the slot is lost too. */
function slotChanges(olds: Properties, news: Properties): Change[] {
  const changes = changesOf(replicationSlotEffects, olds, keepingName(olds, news));
  return olds.lost === true ? [...changes, { input: "lost", effect: "newSlot" }] : changes;
}

/** Pure. Two of one name can't be there at the same time. */
export function diffReplicationSlot(olds: Properties, news: Properties): DiffResult {
  const clashes = news.slotName !== undefined && news.slotName === olds.slotName;
  const result = compare(replicationSlotEffects, olds, keepingName(olds, news), clashes);
  if (olds.lost !== true) return result;
  return withOrder({ ...result, changes: true, replaces: [...result.replaces, "lost"] }, news, clashes);
}

/** The name of a new slot: another than that of the slot beside which it is made. */
function freshName(inputs: Properties, databaseOid: number): string {
  const { pipelineId, incarnation, source, strategy } = inputs as {
    pipelineId: string;
    incarnation: string;
    source: SourceConfig;
    strategy?: string;
  };
  const hasOther = strategy !== "stop-first" && isOwn("slot family", `${serverOf(source)}/${pipelineId}`);
  return hasOther ? successorSlotName(databaseOid, pipelineId, incarnation) : slotNameOf(databaseOid, pipelineId);
}

function tellOrder(olds: Properties, inputs: Properties): void {
  const { deleteBeforeReplace } = diffReplicationSlot(olds, inputs);
  const why = inputs.strategy === "stop-first" ? 'strategy is "stop-first"' : "slotName is given";
  // The name of one that was made without a preflight is an output only.
  const subject = olds.slotName === undefined ? "ReplicationSlot" : `ReplicationSlot ${olds.slotName}`;
  printOnce(
    deleteBeforeReplace
      ? `${subject}: dropped before the new one is made, as ${why}; nothing is captured meanwhile`
      : `${subject}: stays until the gateway of the new one has caught up, then it is dropped`,
  );
}

function nameTaken(name: string, slot: SlotFacts): SluiceError {
  const held = slot.activePid === null ? "and is idle" : `and is read by pid ${slot.activePid}`;
  return new SluiceError(
    "name-taken",
    `a replication slot ${name} exists (database ${slot.database ?? "none"}) ${held}; it isn't this stack's`,
    { remedy: `Choose another slotName; or, if nothing needs it, run ${dropSlotSql(name)}.` },
  );
}

/**
 * Made by a create whose result was lost: nobody else can know a random pipeline id, and nobody has read it since. It
 * is dropped and made anew.
 */
function isLeftover(inputs: Properties, name: string, slot: SlotFacts): boolean {
  const { pipelineId, source } = inputs as { pipelineId: string; source: SourceConfig };
  const generated = isRandomPipelineId(pipelineId) && isGeneratedSlotName(name, pipelineId);
  if (!generated || isOwn("slot", name)) return false;
  return slot.plugin === "pgoutput" && slot.database === source.database && slot.activePid === null;
}

/** Each attempt to replace a slot makes another name: what earlier ones left goes. */
async function removeLeftovers(client: Client, inputs: Properties): Promise<void> {
  for (const slot of await listSlots(client)) {
    if (isLeftover(inputs, slot.name, slot)) await removeSlot(client, slot.name, inputs.deleteTimeoutMs as number);
  }
}

/** Incarnations of the slots that this process made: a name may be another slot's by the time its former one is deleted. */
const made = new Map<string, unknown>();

/** A standby has the publication a moment after the primary. */
async function isPublished(client: Client, name: string, timeoutMs: number): Promise<boolean> {
  const deadlineMs = Date.now() + timeoutMs;
  for (;;) {
    if ((await readPublication(client, { name })) !== null) return true;
    if (Date.now() > deadlineMs || !(await isInRecovery(client))) return false;
    await pause(100);
  }
}

async function checkFailover(source: SourceConfig): Promise<CheckFailure[]> {
  try {
    const problems = findFailoverProblems(await withCheck(source, "checking failover", readFailoverFacts));
    const failures: CheckFailure[] = [];
    for (const { severity, message, remedy } of problems) {
      if (severity === "error") failures.push({ property: "failover", reason: `${message}\n  remedy: ${remedy}` });
      else printOnce(`warning: ${serverOf(source)}: ${message}. ${remedy}`);
    }
    return failures;
  } catch (error) {
    return [sourceFailure(error, nestedSource)];
  }
}

/** What the server says, where that differs: an update then repairs it. */
function failoverFound(props: Properties, slot: SlotFacts): Properties {
  if (slot.failover === null || slot.failover === (props.failover === true)) return {};
  return { failover: slot.failover };
}

const serverOf = (source: SourceConfig) => `${source.host}:${source.port}`;
const serverSlot = (source: SourceConfig, name: unknown) => `${serverOf(source)}/${name}`;

export const replicationSlot: Lifecycle = {
  async check(olds, news) {
    const result = checkReplicationSlot(olds, news);
    const { inputs, failures } = result;
    const existing = olds.incarnation !== undefined;
    if (existing && !containsUnknown(olds.source)) {
      const old = olds.source as SourceConfig;
      rememberOwn("slot", serverSlot(old, olds.slotName));
      rememberOwn("slot", String(olds.slotName));
      rememberOwn("slot family", `${serverOf(old)}/${olds.pipelineId}`);
    }
    const changes = existing ? slotChanges(olds, inputs) : [];
    tellCost("ReplicationSlot", inputs.slotName ?? olds.slotName, existing ? olds : null, inputs, changes);
    const asksFailover = inputs.failover === true && olds.failover !== true;
    if (failures.length === 0 && asksFailover && inputs.preflight === "preview" && !containsUnknown(inputs.source)) {
      failures.push(...(await checkFailover(inputs.source as SourceConfig)));
    }
    const known = pick(inputs, ["source", "pipelineId", "slotName"]);
    if (existing && isReplacing(changes) && failures.length === 0) tellOrder(olds, inputs);
    const settled = existing && inputs.slotName !== undefined;
    if (failures.length > 0 || settled || inputs.preflight !== "preview" || containsUnknown(known)) return result;
    const source = inputs.source as SourceConfig;
    try {
      const { name, slot, shortage } = await withCheck(source, "checking the slot's name", async (client) => {
        const facts = await readSourceFacts(client);
        const wanted = (inputs.slotName as string | undefined) ?? freshName(inputs, facts.databaseOid);
        return { name: wanted, slot: await readSlotFacts(client, wanted), shortage: findSlotShortage(facts) };
      });
      inputs.slotName ??= name;
      const taken = slot !== null && !isOwn("slot", serverSlot(source, name)) && !isLeftover(inputs, name, slot);
      if (!existing && taken) {
        failures.push({ property: "slotName", reason: nameTaken(name, slot).describe() });
      }
      const isBeside = existing && !diffReplicationSlot(olds, inputs).deleteBeforeReplace;
      if (isBeside || (!existing && slot === null && !isOwn("slot place", serverOf(source)))) {
        const or = isBeside ? ' Or set strategy: "stop-first", by which the old slot is dropped first.' : "";
        failures.push(
          ...shortage.map(({ message, remedy }) => ({
            property: "source",
            reason: `${message}\n  remedy: ${remedy}${or}`,
          })),
        );
      }
      if (existing) rememberOwn("slot place", serverOf(source));
    } catch (error) {
      failures.push(sourceFailure(error, nestedSource));
    }
    return result;
  },

  diff: (_id, olds, news) => diffReplicationSlot(olds, news),

  async create(inputs) {
    const source = inputs.source as SourceConfig;
    const publication = inputs.publicationName as string;
    const { name, databaseOid } = await withAdmin(source, "preparing the replication slot", async (client) => {
      const oid = await readDatabaseOid(client);
      const wanted = (inputs.slotName as string | undefined) ?? freshName(inputs, oid);
      await removeLeftovers(client, inputs);
      const slot = await readSlotFacts(client, wanted);
      if (slot !== null) throw nameTaken(wanted, slot);
      if (!(await isPublished(client, publication, inputs.createTimeoutMs as number))) {
        throw new SluiceError("missing-object", `publication ${publication} does not exist in ${source.database}`, {
          remedy: "Create it first: a slot decodes only what is published when the change is made.",
        });
      }
      return { name: wanted, databaseOid: oid };
    });
    const failover = inputs.failover === true;
    const consistentPoint = await createSlot(source, name, inputs.createTimeoutMs as number, failover);
    rememberOwn("slot", serverSlot(source, name));
    rememberOwn("slot", name);
    made.set(serverSlot(source, name), inputs.incarnation);
    return { id: name, outs: { ...inputs, slotName: name, databaseOid, consistentPoint, lost: false } };
  },

  async read(id, props) {
    if (props.publicationName === undefined) return readExistingSlot(id, props);
    const source = props.source as SourceConfig;
    const name = props.slotName as string;
    const slot = await withAdmin(source, "reading the replication slot", (client) => readSlotFacts(client, name));
    // One of another plug-in or database is another's, made after ours was dropped.
    if (slot === null || slot.plugin !== "pgoutput" || slot.database !== source.database) return { id: "" };
    const lost = slot.walStatus === "lost";
    return {
      id: name,
      props: { ...props, ...failoverFound(props, slot), lost },
      // A check sees inputs only, and tells what a lost slot costs.
      inputs: { ...pick(props, [...Object.keys(shape), "incarnation", "changeCost"]), ...(lost ? { lost } : {}) },
    };
  },

  async update(_id, olds, news) {
    const failover = news.failover === true;
    if ((olds.failover === true) !== failover) {
      const timeoutMs = (news.deleteTimeoutMs as number | undefined) ?? 30_000;
      await alterSlotFailover(news.source as SourceConfig, olds.slotName as string, failover, timeoutMs);
    }
    return { outs: { ...pick(olds, ["slotName", "databaseOid", "consistentPoint"]), ...news, lost: false } };
  },

  async delete(_id, props) {
    if (props.isOthers === true) return;
    const source = props.source as SourceConfig;
    const name = props.slotName as string;
    const timeoutMs = (props.deleteTimeoutMs as number | undefined) ?? 30_000;
    const successor = made.get(serverSlot(source, name));
    if (successor !== undefined && successor !== props.incarnation) return;
    try {
      await withAdmin(source, `dropping replication slot ${name}`, async (client) => {
        const slot = await readSlotFacts(client, name);
        if (slot !== null && (slot.plugin !== "pgoutput" || slot.database !== source.database)) {
          console.log(`warning: replication slot ${name} isn't this stack's any more and is left alone`);
          return;
        }
        await removeSlot(client, name, timeoutMs);
      });
    } catch (error) {
      throw withManualSql(error, dropSlotSql(name), source);
    }
  },
};
