/** One relation that holds rows of a table: the table itself, or a leaf of a partitioned one. */
export interface CopyPart {
  /** pg_class.oid */
  relationId: string;
  schema: string;
  name: string;
  /** pg_relation_filenode(): another one after TRUNCATE, VACUUM FULL, CLUSTER and every rewrite */
  fileNode: string;
  /** with TOAST */
  bytes: number;
  /** blocks of each range; the last range is open-ended */
  rangeBlocks: number;
  ranges: number;
  /** ranges whose files are staged, or wait for the next record */
  done: Set<number>;
}

/** A relation's size, as the catalog tells it. */
export interface PartSize {
  relationId: string;
  schema: string;
  name: string;
  fileNode: string;
  /** of the main fork */
  blocks: number;
  /** with TOAST */
  bytes: number;
  /** rows can be found by a range of ctid: a heap, PostgreSQL 14 or newer */
  rangeable: boolean;
}

/** The part and the index of one of its ranges. */
export interface CopyRange {
  part: CopyPart;
  index: number;
}

/** However large a relation is, it has no more ranges than this. */
const rangesMax = 10_000;

/** Divides a relation into ranges of about `rangeBytes`; a small one, or one that can't be divided, is one range. */
export function planPart(size: PartSize, rangeBytes: number): CopyPart {
  const { relationId, schema, name, fileNode, blocks, bytes } = size;
  const wanted = size.rangeable ? Math.min(Math.ceil(bytes / rangeBytes), blocks, rangesMax) : 1;
  const rangeBlocks = Math.max(Math.ceil(blocks / Math.max(wanted, 1)), 1);
  const ranges = size.rangeable ? Math.max(Math.ceil(blocks / rangeBlocks), 1) : 1;
  return { relationId, schema, name, fileNode, bytes, rangeBlocks, ranges, done: new Set() };
}

/** Blocks of a range; `end` null: open. Null for a part of one range, which is read without a condition. */
export function rangeBlocks({ part, index }: CopyRange): { first: number; end: number | null } | null {
  if (part.ranges === 1) return null;
  const first = index * part.rangeBlocks;
  return { first, end: index === part.ranges - 1 ? null : first + part.rangeBlocks };
}

/** Ranges that aren't done, those of the largest relation first. */
export function rangesLeft(parts: readonly CopyPart[]): CopyRange[] {
  return [...parts]
    .sort((a, b) => b.bytes - a.bytes)
    .flatMap((part) =>
      Array.from({ length: part.ranges }, (_, index) => ({ part, index })).filter(({ index }) => !part.done.has(index)),
    );
}

export function isCopied(parts: readonly CopyPart[]): boolean {
  return parts.every((part) => part.done.size === part.ranges);
}

/** Share of the table's bytes that is copied, 0 to 1. */
export function copiedShare(parts: readonly CopyPart[]): number {
  let bytes = 0;
  let copied = 0;
  for (const part of parts) {
    const weight = Math.max(part.bytes, 1);
    bytes += weight;
    copied += (weight * part.done.size) / part.ranges;
  }
  return bytes === 0 ? 1 : copied / bytes;
}

/** Indexes as runs: `0-3,7`. */
export function formatDone(done: ReadonlySet<number>): string {
  const runs: string[] = [];
  const sorted = [...done].sort((a, b) => a - b);
  for (let at = 0; at < sorted.length; ) {
    const first = sorted[at];
    let last = first;
    while (++at < sorted.length && sorted[at] === last + 1) last++;
    runs.push(first === last ? String(first) : `${first}-${last}`);
  }
  return runs.join(",");
}

export function parseDone(text: string): Set<number> {
  const done = new Set<number>();
  for (const run of text.split(",").filter((part) => part !== "")) {
    const [first, last] = run.split("-").map(Number);
    for (let index = first; index <= (last ?? first); index++) done.add(index);
  }
  return done;
}
