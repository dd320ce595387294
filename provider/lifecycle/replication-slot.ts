import { setTimeout as pause } from "node:timers/promises";
import type { Client } from "pg";
import type { SourceConfig } from "../../runtime/config";
import { SluiceError } from "../../runtime/errors";
import { withAdmin } from "../postgres/admin-session";
import { isInRecovery, readDatabaseOid } from "../postgres/preflight";
import { noteSlot, readKeptSlots } from "../postgres/publication-mark";
import { readPublication } from "../postgres/publication-statements";
import { alterSlotFailover, expectFailover } from "../postgres/slot-failover";
import {
  createSlot,
  dropSlotSql,
  listSlots,
  readSlotFacts,
  removeSlot,
  type SlotFacts,
} from "../postgres/slot-statements";
import type { TableSize } from "../postgres/table-size";
import { copiesOf, tellCost } from "./change-cost";
import { isReplacing } from "./comparison";
import { pick } from "./connection";
import { nestedSource, sourceFailures } from "./input-check";
import type { Lifecycle, Properties } from "./lifecycle";
import { withManualSql } from "./manual-sql";
import { isOwn, rememberOwn } from "./own-names";
import {
  checkReplicationSlot,
  diffReplicationSlot,
  isKeptAtDelete,
  shape,
  slotChanges,
} from "./replication-slot-inputs";
import { checkFailover, checkNewSlot, tellFullRefresh, tellOrder } from "./replication-slot-preflight";
import { readExistingSlot } from "./replication-slot-reading";
import { mayBeReplaced, newSlotName, ownerOf, serverOf, serverSlot, standing } from "./replication-slot-standing";
import { nameTaken, otherKind, slotAdoptionProblem, unknownSlot } from "./slot-ownership";
import { containsUnknown } from "./unknown-value";

/** Each attempt to replace a slot makes another name: what earlier ones left goes. */
async function removeLeftovers(client: Client, inputs: Properties, keptSlots: readonly string[]): Promise<void> {
  for (const slot of await listSlots(client)) {
    if (isOwn("slot", slot.name) || unknownSlot(slot.name, slot, ownerOf(inputs), keptSlots) !== "leftover") continue;
    await removeSlot(client, slot.name, inputs.deleteTimeoutMs as number);
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

/** What the server says, where that differs: an update then repairs it. */
function failoverFound(props: Properties, slot: SlotFacts): Properties {
  if (slot.failover === null || slot.failover === (props.failover === true)) return {};
  return { failover: slot.failover };
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
    const isReplaced = existing && isReplacing(changes);
    const subject = inputs.slotName ?? olds.slotName;
    const tell = (sizes: readonly TableSize[] = []) => {
      const copies = sizes.length === 0 ? undefined : copiesOf(sizes);
      tellCost("ReplicationSlot", subject, existing ? olds : null, inputs, changes, copies);
      if (!isReplaced || failures.length > 0) return;
      tellOrder(olds, inputs);
      tellFullRefresh(olds, inputs);
    };
    const isAsked = failures.length === 0 && inputs.preflight === "preview" && !containsUnknown(inputs.source);
    if (isAsked && inputs.failover === true && olds.failover !== true) {
      failures.push(...(await checkFailover(inputs.source as SourceConfig)));
    }
    const known = pick(inputs, ["source", "pipelineId", "slotName"]);
    if (failures.length > 0 || (existing && !isReplaced) || !isAsked || containsUnknown(known)) {
      tell();
      return result;
    }
    const source = inputs.source as SourceConfig;
    try {
      failures.push(...(await checkNewSlot(existing ? olds : null, inputs, tell)));
      if (existing) rememberOwn("slot place", serverOf(source));
    } catch (error) {
      tell();
      failures.push(...sourceFailures(error, source, nestedSource));
    }
    return result;
  },

  diff: (_id, olds, news) => diffReplicationSlot(olds, news),

  async create(inputs) {
    const source = inputs.source as SourceConfig;
    const { publicationName, pipelineId } = inputs as { publicationName: string; pipelineId: string };
    const { name, databaseOid, adopted } = await withAdmin(source, "preparing the replication slot", async (client) => {
      if (inputs.failover === true) await expectFailover(client);
      const oid = await readDatabaseOid(client);
      const keptSlots = await readKeptSlots(client, publicationName, pipelineId);
      const { name: wanted } = await newSlotName(client, inputs, oid, keptSlots);
      const found = await readSlotFacts(client, wanted);
      const isAdopted = found !== null && standing(inputs, wanted, found, keptSlots) === "adopted";
      await removeLeftovers(client, inputs, isAdopted ? [...keptSlots, wanted] : keptSlots);
      const slot = await readSlotFacts(client, wanted);
      if (slot !== null && !isAdopted) throw nameTaken(wanted, slot, mayBeReplaced(inputs));
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
