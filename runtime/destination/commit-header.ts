import { randomUUID } from "node:crypto";
import type { ApplyContext } from "./apply-context";
import type { ApplyPlan } from "./apply-plan";
import type { Action, CommitInfo, MetaData } from "./delta/actions";
import { clusteringColumns, domainChanges } from "./delta/clustering";
import type { DeltaTable } from "./delta/delta-table";
import { buildProtocol, sameProtocol } from "./delta/table-metadata";
import { buildDomains, buildMetaData } from "./target-metadata";
import { type TargetTable, targetColumns } from "./target-table";
import type { WorkingTable } from "./working-table";

/** protocol, metaData and metadata of domains, each only when it changes. A table that moves takes along what others have set on it. */
export function describeTable(
  table: DeltaTable,
  source: DeltaTable,
  target: TargetTable,
  context: ApplyContext,
  nowMs: number,
): Action[] {
  const { protocol: oldProtocol, metaData: oldMetaData } = table.snapshot;
  const identity = oldMetaData ?? { id: randomUUID(), createdTime: nowMs, configuration: {} };
  const domains = buildDomains(target, source.snapshot);
  const needs = {
    ...target.stored.options,
    isClustered: clusteringColumns(domains) !== null,
    isPartitioned: target.partition.length > 0,
  };
  const protocol = buildProtocol(targetColumns(target), needs, oldProtocol, source.snapshot.protocol);
  const metaData = buildMetaData(target, context.logId, source.snapshot.metaData, identity);
  const actions: Action[] = [];
  if (oldProtocol === null || !sameProtocol(oldProtocol, protocol)) actions.push({ protocol });
  if (oldMetaData === null || !sameMetaData(oldMetaData, metaData)) actions.push({ metaData });
  return [...actions, ...domainChanges(table.snapshot.domains, domains)];
}

function sameMetaData(a: MetaData, b: MetaData): boolean {
  const entries = (metaData: MetaData) => JSON.stringify(Object.entries(metaData.configuration).sort());
  const partition = (metaData: MetaData) => JSON.stringify(metaData.partitionColumns);
  return (
    a.name === b.name && a.schemaString === b.schemaString && partition(a) === partition(b) && entries(a) === entries(b)
  );
}

/** What history says of the commit; `sluice` carries the counters of the table's life. */
export function commitInfo(
  table: DeltaTable,
  plan: ApplyPlan,
  working: WorkingTable,
  context: ApplyContext,
  nowMs: number,
  durationMs: number,
): CommitInfo {
  const before = table.snapshot.newestOwn;
  return {
    timestamp: nowMs,
    operation: plan.steps.some((step) => step.kind === "replace") ? "SNAPSHOT" : "MERGE",
    operationParameters: { stagedSequence: String(plan.sequence) },
    operationMetrics: {
      numTargetRowsInserted: String(working.rowsInserted),
      numTargetRowsDeleted: String(working.rowsDeleted),
    },
    engineInfo: context.engineInfo,
    isBlindAppend: false,
    sluice: {
      sequence: plan.sequence,
      upserted: (before?.upserted ?? 0) + plan.upserted,
      deleted: (before?.deleted ?? 0) + plan.deleted,
      dropped: (before?.dropped ?? 0) + plan.dropped,
      durationMs: Math.round((before?.durationMs ?? 0) + durationMs),
    },
  };
}
