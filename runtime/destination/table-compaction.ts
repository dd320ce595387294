import type { ColumnSchema, DeltaType } from "../change/table-schema";
import { failpoint } from "../failpoint";
import { planCompaction } from "./compaction-plan";
import { type Action, type MetaData, recordCount } from "./delta/actions";
import type { DeltaTable } from "./delta/delta-table";
import type { DuckDbSession } from "./duckdb-session";
import { liveRowsQuery } from "./live-rows";
import { WorkingTable } from "./working-table";

export interface Compaction {
  /** written anew, and written */
  filesRemoved: number;
  filesAdded: number;
  bytes: number;
}

/**
 * Writes small files of a table, and files with many deleted rows, anew: one group of them, as one commit that changes no
 * row (`dataChange` false). Where another writer's commit is first, nothing is done.
 * @returns null when nothing is worth it now
 */
export async function compactTable(
  table: DeltaTable,
  session: DuckDbSession,
  engineInfo: string,
): Promise<Compaction | null> {
  const files = [...table.snapshot.files.values()];
  const [group] = planCompaction(
    files.map((add) => ({
      bytes: add.size,
      records: recordCount(add) ?? 0,
      deleted: add.deletionVector?.cardinality ?? 0,
    })),
  );
  const columns = columnsOf(table.snapshot.metaData);
  if (group === undefined || columns === null) return null;
  const startedMs = performance.now();
  const working = await WorkingTable.open(table, session);
  let keepFiles = false;
  try {
    working.setColumns(columns);
    const query = await liveRowsQuery(session, working, group, columns);
    await working.rewrite(group, query, columns);
    const nowMs = Date.now();
    const changes = await working.finish(nowMs, { dataChange: false });
    failpoint("applier.after-compacted-files");
    const count = (kind: "add" | "remove") => changes.filter((action) => action[kind] !== undefined).length;
    const bytes = changes.reduce((sum, { add }) => sum + (add?.size ?? 0), 0);
    const own = table.snapshot.newestOwn;
    const commitInfo: Action["commitInfo"] = {
      timestamp: nowMs,
      operation: "OPTIMIZE",
      operationParameters: {},
      operationMetrics: {
        numRemovedFiles: String(count("remove")),
        numAddedFiles: String(count("add")),
        executionTimeMs: String(Math.round(performance.now() - startedMs)),
      },
      engineInfo,
      isBlindAppend: false,
      ...(own === null ? {} : { sluice: own }),
    };
    keepFiles = true; // an error doesn't say that the commit isn't there
    keepFiles = await table.commit([{ commitInfo }, ...changes]);
    if (!keepFiles) {
      await table.refresh();
      return null;
    }
    return { filesRemoved: count("remove"), filesAdded: count("add"), bytes };
  } finally {
    await working.dispose(keepFiles);
  }
}

/** A table's columns by its metadata; null when others have given it columns that aren't ours to write. */
function columnsOf(metaData: MetaData | null): ColumnSchema[] | null {
  if (metaData === null) return null;
  const { fields } = JSON.parse(metaData.schemaString) as {
    fields: { name: string; type: unknown; metadata: Record<string, unknown> }[];
  };
  const columns: ColumnSchema[] = [];
  for (const { name, type, metadata } of fields) {
    const id = metadata["delta.columnMapping.id"];
    const physicalName = metadata["delta.columnMapping.physicalName"];
    if (typeof type !== "string" || typeof id !== "number" || typeof physicalName !== "string") return null;
    columns.push({
      attributeNumber: id,
      name,
      physicalName,
      typeOid: 0,
      typeModifier: -1,
      typeName: type,
      deltaType: type as DeltaType,
      keyOrdinal: null,
    });
  }
  return metaData.partitionColumns.length === 0 ? columns : null;
}
