/**
 * How far a table has a staging log: told by a token that stands in the condition of each MERGE, and so in the table's own
 * history, and by a property of tables that are made anew. `done` of the `of` statements that take the table from `base` to
 * `sequence` have had their effect.
 */
export interface WarehousePosition {
  logId: string;
  tableId: string;
  base: number;
  sequence: number;
  done: number;
  of: number;
}

const pattern = /sluice:([0-9A-Za-z-]+):(\d+):(\d+):(\d+):(\d+)\/(\d+)/g;

export function formatPosition({ logId, tableId, base, sequence, done, of }: WarehousePosition): string {
  return `sluice:${logId}:${tableId}:${base}:${sequence}:${done}/${of}`;
}

/** All positions that a text tells of, in order. */
export function parsePositions(text: string): WarehousePosition[] {
  return [...text.matchAll(pattern)].map(([, logId, tableId, ...numbers]) => {
    const [base, sequence, done, of] = numbers.map(Number);
    return { logId, tableId, base, sequence, done, of };
  });
}

/** The staged sequence that the table has whole. */
export function wholeSequence({ base, sequence, done, of }: WarehousePosition): number {
  return done === of ? sequence : base;
}

export function isWhole({ done, of }: WarehousePosition): boolean {
  return done === of;
}

/** A version of the table, as DESCRIBE HISTORY tells it. */
export interface HistoryEntry {
  version: number;
  operation: string;
  /** as text, whatever its form */
  parameters: string;
}

/**
 * Pure: the newest position in a table's history, newest version first; null when none of these entries tells one. A
 * version that was restored is the one that counts: what came between is undone.
 */
export function newestPosition(
  history: readonly HistoryEntry[],
  { logId, tableId }: Pick<WarehousePosition, "logId" | "tableId">,
): WarehousePosition | null {
  let before = Number.POSITIVE_INFINITY;
  for (const { version, operation, parameters } of history) {
    if (version > before) continue;
    if (operation === "RESTORE") {
      const [, restored] = /"?version"?\s*[:=]\s*"?(\d+)/.exec(parameters) ?? [];
      if (restored !== undefined) before = Number(restored);
      continue;
    }
    const found = parsePositions(parameters).filter((each) => each.logId === logId && each.tableId === tableId);
    if (found.length > 0) return found[found.length - 1];
  }
  return null;
}

/** The one that is further. */
export function furthest(one: WarehousePosition | null, other: WarehousePosition | null): WarehousePosition | null {
  if (one === null || other === null) return one ?? other;
  const [a, b] = [one, other].map((each) => [wholeSequence(each), each.sequence, each.done]);
  const at = a.findIndex((value, index) => value !== b[index]);
  return at < 0 || a[at] > b[at] ? one : other;
}
