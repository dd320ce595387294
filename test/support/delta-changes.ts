import { readFileSync } from "node:fs";
import { join } from "node:path";
import { openDelta, partitionValue, readDeltaRows, readParquetColumns, widen } from "./delta-reader";

export type ChangeType = "insert" | "update_preimage" | "update_postimage" | "delete";

export interface DeltaChange {
  type: ChangeType;
  row: Record<string, unknown>;
}

interface FileAction {
  path: string;
  dataChange: boolean;
  partitionValues: Record<string, string | null>;
  deletionVector?: unknown;
}

/**
 * The change data feed of one commit, as the Delta protocol has it ("Change Data Files"): of a commit with `cdc` actions
 * theirs; else its added rows are inserts and its removed ones deletes. `derived`: which of the two.
 */
export async function readDeltaChanges(
  path: string,
  version: number,
): Promise<{ changes: DeltaChange[]; isDerived: boolean }> {
  const text = readFileSync(join(path, "_delta_log", `${String(version).padStart(20, "0")}.json`), "utf8");
  const lines = text
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as { add?: FileAction; remove?: FileAction; cdc?: FileAction });
  const feed = lines.flatMap(({ cdc }) => (cdc === undefined ? [] : [cdc]));
  const changes: DeltaChange[] = [];
  if (feed.length === 0) {
    const isChange = ({ dataChange }: FileAction) => dataChange;
    const adds = lines.flatMap(({ add }) => (add === undefined ? [] : [add])).filter(isChange);
    const removes = lines.flatMap(({ remove }) => (remove === undefined ? [] : [remove])).filter(isChange);
    if (adds.length > 0 && removes.length > 0) throw new Error(`version ${version} adds and removes without a feed`);
    if (removes.some(({ deletionVector }) => deletionVector)) {
      throw new Error(`version ${version} removes a file with a vector without a feed`);
    }
    const [one, type] = adds.length > 0 ? [version, "insert" as const] : [version - 1, "delete" as const];
    const paths = new Set([...adds, ...removes].map((file) => file.path));
    if (paths.size > 0) {
      const rows = await readDeltaRows(path, one, (file) => paths.has(file));
      changes.push(...rows.map((row) => ({ type, row })));
    }
    return { changes, isDerived: true };
  }
  const { columns } = await openDelta(path, { version });
  for (const { path: file, dataChange, partitionValues } of feed) {
    if (dataChange !== false || !file.startsWith("_change_data/")) throw new Error(`version ${version}: cdc ${file}`);
    const wanted = [...columns, { name: "_change_type", type: "string", physicalName: "_change_type" }];
    const { values, total } = await readParquetColumns(join(path, decodeURIComponent(file)), wanted);
    const typed = wanted.map(({ type, physicalName }) => {
      const text = partitionValues[physicalName];
      if (text === undefined) return widen(type, values.get(physicalName) as unknown[]);
      return new Array(total).fill(partitionValue(type, text));
    });
    for (let at = 0; at < total; at++) {
      changes.push({
        type: String(typed[columns.length][at]) as ChangeType,
        row: Object.fromEntries(columns.map(({ name }, index) => [name, typed[index][at]])),
      });
    }
  }
  return { changes, isDerived: false };
}
