/** A file of a table, as far as its log tells. */
export interface FileShape {
  bytes: number;
  /** rows, deleted ones included */
  records: number;
  deleted: number;
}

/** Files from this size on are only written anew for their deleted rows. */
const targetBytes = 64 * 1024 * 1024;
const smallestTierBytes = 1024 * 1024;
/** Each tier's files are so many times larger; so many of one tier become one file of the next. */
const tierFactor = 4;
const filesMin = 8;
const filesMax = 64;
/** From this part on deleted rows cost readers more than writing the file anew. */
const deletedPartMax = 0.3;

/**
 * Pure: which files are to be written anew as one, the most useful first: small ones of like size, many at a time, so
 * that a row is written again only as often as its file's size grows by a tier; and files with many deleted rows.
 * @returns groups of indexes, in order; none when nothing is worth its cost
 */
export function planCompaction(files: readonly FileShape[]): number[][] {
  const groups: number[][] = [];
  const tiers = new Map<number, number[]>();
  for (const [index, file] of files.entries()) {
    const tier = tierOf(liveBytes(file));
    if (tier !== null) tiers.set(tier, [...(tiers.get(tier) ?? []), index]);
  }
  const used = new Set<number>();
  for (const [, indexes] of [...tiers].sort(([a], [b]) => a - b)) {
    if (indexes.length < filesMin) continue;
    for (const group of inPortions(indexes, files)) {
      if (group.length < filesMin / 2) continue;
      groups.push(group);
      for (const index of group) used.add(index);
    }
  }
  for (const [index, { deleted, records }] of files.entries()) {
    if (!used.has(index) && records > 0 && deleted / records >= deletedPartMax) groups.push([index]);
  }
  return groups;
}

function liveBytes({ bytes, records, deleted }: FileShape): number {
  return records === 0 ? 0 : bytes * (1 - deleted / records);
}

/** null for a file that is large enough */
function tierOf(bytes: number): number | null {
  if (bytes >= targetBytes) return null;
  let tier = 0;
  for (let limit = smallestTierBytes; bytes >= limit; limit *= tierFactor) tier++;
  return tier;
}

function inPortions(indexes: number[], files: readonly FileShape[]): number[][] {
  const portions: number[][] = [[]];
  let bytes = 0;
  for (const index of indexes) {
    const own = liveBytes(files[index]);
    const last = portions[portions.length - 1];
    if (last.length > 0 && (last.length >= filesMax || bytes + own > targetBytes * 1.5)) {
      portions.push([index]);
      bytes = own;
    } else {
      last.push(index);
      bytes += own;
    }
  }
  return portions;
}
