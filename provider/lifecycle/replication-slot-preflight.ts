import type { SourceConfig } from "../../runtime/config";
import { withCheck } from "../postgres/admin-session";
import { findSlotShortage } from "../postgres/preflight";
import { readKeptSlots } from "../postgres/publication-mark";
import { findFailoverProblems, readFailoverFacts } from "../postgres/slot-failover";
import { readSlotFacts, type SlotFacts } from "../postgres/slot-statements";
import { readSourceFacts } from "../postgres/source-facts";
import { readPublishedSizes, type TableSize } from "../postgres/table-size";
import { copiesOf, tellCost } from "./change-cost";
import { nestedSource, sourceFailures } from "./input-check";
import type { CheckFailure, Properties } from "./lifecycle";
import { isOwn, printOnce } from "./own-names";
import { diffReplicationSlot } from "./replication-slot-inputs";
import { mayBeReplaced, newSlotName, serverOf, serverSlot, standing } from "./replication-slot-standing";
import { nameTaken, slotAdoptionProblem } from "./slot-ownership";
import { containsUnknown } from "./unknown-value";

/** Prints when the slot that is replaced goes. */
export function tellOrder(olds: Properties, inputs: Properties): void {
  const { deleteBeforeReplace } = diffReplicationSlot(olds, inputs);
  const why = inputs.strategy === "stop-first" ? 'strategy is "stop-first"' : "slotName is given";
  // The name of one that was made without a preflight is an output only.
  const subject = olds.slotName === undefined ? "ReplicationSlot" : `ReplicationSlot ${olds.slotName}`;
  printOnce(
    deleteBeforeReplace
      ? `${subject}: dropped before the new one is made, as ${why}; nothing is captured meanwhile`
      : inputs.reader === "databricks"
        ? `${subject}: stays until Databricks' pipelines have gone over to the new one, then it is dropped`
        : `${subject}: stays until the gateway of the new one has caught up, then it is dropped`,
  );
}

/** Databricks' pipelines don't know that a slot is another one, and go on with what it has. */
export function tellFullRefresh(olds: Properties, { reader }: Properties): void {
  if (reader !== "databricks") return;
  const subject = olds.slotName === undefined ? "ReplicationSlot" : `ReplicationSlot ${olds.slotName}`;
  printOnce(
    `warning: ${subject}: Databricks' pipelines copy nothing by themselves, and the new slot lacks the changes before it: start a full refresh once it is there (sluice refresh --pipeline ID --all --full, with the ingestion pipeline's id)`,
  );
}

/** What a slot with `failover` lacks on its server and standbys. */
export async function checkFailover(source: SourceConfig): Promise<CheckFailure[]> {
  try {
    const problems = findFailoverProblems(await withCheck(source, "checking failover", readFailoverFacts));
    const failures: CheckFailure[] = [];
    for (const { severity, message, remedy } of problems) {
      if (severity === "error") failures.push({ property: "failover", reason: `${message}\n  remedy: ${remedy}` });
      else printOnce(`warning: ${serverOf(source)}: ${message}. ${remedy}`);
    }
    return failures;
  } catch (error) {
    return sourceFailures(error, source, nestedSource);
  }
}

/** What a check finds of the slot that is to be made, and of the tables that are copied for it. */
function inspectNewSlot(inputs: Properties) {
  return withCheck(inputs.source as SourceConfig, "checking the slot's name", async (client) => {
    const facts = await readSourceFacts(client);
    const { publicationName, pipelineId } = inputs as { publicationName: string; pipelineId: string };
    const isKnown = !containsUnknown(publicationName);
    const keptSlots = isKnown ? await readKeptSlots(client, publicationName, pipelineId) : [];
    const { name, beside } = await newSlotName(client, inputs, facts.databaseOid, keptSlots);
    const slot = await readSlotFacts(client, name);
    const sizes = isKnown ? await readPublishedSizes(client, publicationName) : [];
    return { name, beside, slot, keptSlots, sizes, shortage: findSlotShortage(facts) };
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

/**
 * What stands against a slot that is to be made; names it, and tells what it costs.
 * @param olds of the slot that is replaced; null where none is, or where the engine shows none
 * @param tellReplaced tells the cost of the replacement, with the tables that are copied where they are known
 */
export async function checkNewSlot(
  olds: Properties | null,
  inputs: Properties,
  tellReplaced: (sizes: readonly TableSize[]) => void,
): Promise<CheckFailure[]> {
  const source = inputs.source as SourceConfig;
  const failures: CheckFailure[] = [];
  const { name, beside, slot, keptSlots, sizes, shortage } = await inspectNewSlot(inputs);
  inputs.slotName ??= name;
  if (beside !== null) {
    printOnce(
      `ReplicationSlot ${beside}: is there and stays until the gateway of the new one, ${name}, has caught up; if this replaces it, it is dropped then`,
    );
  }
  const unknown = slot === null || isOwn("slot", serverSlot(source, name)) ? null : slot;
  const found = unknown === null ? "none" : standing(inputs, name, unknown, keptSlots);
  if (olds !== null) tellReplaced(sizes);
  if (unknown !== null && found === "adopted") {
    const problem = slotAdoptionProblem(name, unknown, source.database);
    if (problem !== null) failures.push({ property: "adopt", reason: problem.describe() });
    else if (olds === null) tellAdoption(name, inputs, unknown);
  } else if (unknown !== null && (found === "foreign" || found === "kept")) {
    failures.push({ property: "slotName", reason: nameTaken(name, unknown, mayBeReplaced(inputs)).describe() });
  } else if (olds === null) tellNewCost(inputs, sizes);
  const isBeside = olds !== null && !diffReplicationSlot(olds, inputs).deleteBeforeReplace;
  if (isBeside || (olds === null && slot === null && !isOwn("slot place", serverOf(source)))) {
    const or = isBeside ? ' Or set strategy: "stop-first", by which the old slot is dropped first.' : "";
    for (const { message, remedy } of shortage) {
      failures.push({ property: "source", reason: `${message}\n  remedy: ${remedy}${or}` });
    }
  }
  return failures;
}
