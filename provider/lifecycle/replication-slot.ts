import { setTimeout as pause } from "node:timers/promises";
import type { Client } from "pg";
import type { SourceConfig } from "../../runtime/config";
import { SluiceError } from "../../runtime/errors";
import { withAdmin, withCheck } from "../postgres/admin-session";
import { findSlotShortage, isInRecovery, readDatabaseOid } from "../postgres/preflight";
import { noteSlot, readKeptSlots } from "../postgres/publication-mark";
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
import { readPublishedSizes, type TableSize } from "../postgres/table-size";
import { copiesOf, tellCost } from "./change-cost";
import { isReplacing } from "./comparison";
import { pick } from "./connection";
import { nestedSource, sourceFailure } from "./input-check";
import type { CheckFailure, Lifecycle, Properties } from "./lifecycle";
import { withManualSql } from "./manual-sql";
import { slotNameOf, successorSlotName } from "./names";
import { isOwn, printOnce, rememberOwn } from "./own-names";
import {
  checkReplicationSlot,
  diffReplicationSlot,
  isKeptAtDelete,
  shape,
  slotChanges,
} from "./replication-slot-inputs";
import { readExistingSlot } from "./replication-slot-reading";
import { nameTaken, otherKind, type SlotOwner, slotAdoptionProblem, unknownSlot } from "./slot-ownership";
import { containsUnknown } from "./unknown-value";

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

const ownerOf = ({ pipelineId, source }: Properties): SlotOwner => ({
  pipelineId: pipelineId as string,
  database: (source as SourceConfig).database,
});

/** Each attempt to replace a slot makes another name: what earlier ones left goes. */
async function removeLeftovers(client: Client, inputs: Properties, keptSlots: readonly string[]): Promise<void> {
  for (const slot of await listSlots(client)) {
    if (isOwn("slot", slot.name) || unknownSlot(slot.name, slot, ownerOf(inputs), keptSlots) !== "leftover") continue;
    await removeSlot(client, slot.name, inputs.deleteTimeoutMs as number);
  }
}

/** What a create has to do with a slot of its name. */
function standing(inputs: Properties, name: string, slot: SlotFacts, keptSlots: readonly string[]) {
  if (inputs.adopt === true) return "adopted";
  if (isOwn("slot", name)) return "foreign";
  const found = unknownSlot(name, slot, ownerOf(inputs), keptSlots);
  // A create that was to keep it has marked it before its result was lost.
  return found === "kept" && isKeptAtDelete(inputs) ? "adopted" : found;
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

/** What a check finds of the slot that is to be made, and of the tables that are copied for it. */
function inspectNewSlot(inputs: Properties) {
  return withCheck(inputs.source as SourceConfig, "checking the slot's name", async (client) => {
    const facts = await readSourceFacts(client);
    const name = (inputs.slotName as string | undefined) ?? freshName(inputs, facts.databaseOid);
    const slot = await readSlotFacts(client, name);
    const { publicationName, pipelineId } = inputs as { publicationName: string; pipelineId: string };
    const isKnown = !containsUnknown(publicationName);
    const keptSlots = isKnown ? await readKeptSlots(client, publicationName, pipelineId) : [];
    const sizes = isKnown ? await readPublishedSizes(client, publicationName) : [];
    return { name, slot, keptSlots, sizes, shortage: findSlotShortage(facts) };
  });
}

/** Of one that is new beside what is there: what a first update makes is told by its publication. */
function tellNewCost(inputs: Properties, sizes: readonly TableSize[]): void {
  const { source, pipelineId, publicationName } = inputs as Record<string, unknown>;
  const isTold =
    isOwn("slot family", `${serverOf(source as SourceConfig)}/${pipelineId}`) ||
    isOwn("new publication", String(publicationName));
  tellCost(
    "ReplicationSlot",
    inputs.slotName,
    null,
    inputs,
    [],
    isTold || sizes.length === 0 ? undefined : copiesOf(sizes),
  );
}

function tellAdoption(name: string, inputs: Properties, slot: SlotFacts): void {
  tellCost("ReplicationSlot", name, {}, inputs, [{ input: "adopt", effect: "none" }]);
  printOnce(
    `ReplicationSlot ${name}: is taken over at ${slot.confirmedFlushLsn}; the gateway copies the tables that its staging doesn't have (Gateway: adopt)`,
  );
}

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
      const { name, slot, keptSlots, sizes, shortage } = await inspectNewSlot(inputs);
      inputs.slotName ??= name;
      const unknown = existing || slot === null || isOwn("slot", serverSlot(source, name)) ? null : slot;
      const found = unknown === null ? "none" : standing(inputs, name, unknown, keptSlots);
      if (unknown !== null && found === "adopted") {
        const problem = slotAdoptionProblem(name, unknown, source.database);
        if (problem === null) tellAdoption(name, inputs, unknown);
        else failures.push({ property: "adopt", reason: problem.describe() });
      } else if (unknown !== null && (found === "foreign" || found === "kept")) {
        failures.push({ property: "slotName", reason: nameTaken(name, unknown).describe() });
      } else if (!existing) tellNewCost(inputs, sizes);
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
    const { publicationName, pipelineId } = inputs as { publicationName: string; pipelineId: string };
    const { name, databaseOid, adopted } = await withAdmin(source, "preparing the replication slot", async (client) => {
      const oid = await readDatabaseOid(client);
      const wanted = (inputs.slotName as string | undefined) ?? freshName(inputs, oid);
      const keptSlots = await readKeptSlots(client, publicationName, pipelineId);
      const found = await readSlotFacts(client, wanted);
      const isAdopted = found !== null && standing(inputs, wanted, found, keptSlots) === "adopted";
      await removeLeftovers(client, inputs, isAdopted ? [...keptSlots, wanted] : keptSlots);
      const slot = await readSlotFacts(client, wanted);
      if (slot !== null && !isAdopted) throw nameTaken(wanted, slot);
      const problem = slot === null ? null : slotAdoptionProblem(wanted, slot, source.database);
      if (problem !== null) throw problem;
      if (!(await isPublished(client, publicationName, inputs.createTimeoutMs as number))) {
        throw new SluiceError("missing-object", `publication ${publicationName} does not exist in ${source.database}`, {
          remedy: "Create it first: a slot decodes only what is published when the change is made.",
        });
      }
      return { name: wanted, databaseOid: oid, adopted: slot };
    });
    const failover = inputs.failover === true;
    const timeoutMs = inputs.createTimeoutMs as number;
    let consistentPoint = adopted?.confirmedFlushLsn;
    if (consistentPoint == null) consistentPoint = await createSlot(source, name, timeoutMs, failover);
    else if (adopted?.failover != null && adopted.failover !== failover) {
      await alterSlotFailover(source, name, failover, timeoutMs);
    }
    await note(inputs, name);
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
    if (slot === null || otherKind(slot, source.database) !== null) return { id: "" };
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
    if (isKeptAtDelete(olds) !== isKeptAtDelete(news)) await note(news, olds.slotName as string);
    return { outs: { ...pick(olds, ["slotName", "databaseOid", "consistentPoint"]), ...news, lost: false } };
  },

  async delete(_id, props) {
    if (props.isOthers === true) return;
    const source = props.source as SourceConfig;
    const name = props.slotName as string;
    const timeoutMs = (props.deleteTimeoutMs as number | undefined) ?? 30_000;
    const successor = made.get(serverSlot(source, name));
    if (successor !== undefined && successor !== props.incarnation) return;
    if (props.onDelete === "keep") {
      console.log(
        `warning: replication slot ${name} stays (onDelete: "keep"): the server keeps WAL for it until somebody reads it, or runs ${dropSlotSql(name)}`,
      );
      return;
    }
    try {
      await withAdmin(source, `dropping replication slot ${name}`, async (client) => {
        const slot = await readSlotFacts(client, name);
        if (slot !== null && otherKind(slot, source.database) !== null) {
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

async function note(inputs: Properties, name: string): Promise<void> {
  const { source, publicationName, pipelineId } = inputs as Record<string, string> & { source: SourceConfig };
  await withAdmin(source, `noting what becomes of replication slot ${name}`, (client) =>
    noteSlot(client, publicationName, pipelineId, name, isKeptAtDelete(inputs)),
  );
}
