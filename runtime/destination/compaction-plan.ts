/** A file of a table, as its log has it. */
export interface FileState {
  path: string;
  bytes: number;
  /** deleted rows included; 0 when it isn't known */
  records: number;
  /** rows that its deletion vector marks */
  deleted: number;
}

export type CompactionReason = "small-files" | "deleted-rows";

/** One run of compaction: one commit. */
export type CompactionStep =
  /** live rows of these files become one file */
  | { kind: "merge"; files: string[]; reason: CompactionReason }
  /** of a file that is too large for one run the first so many rows that aren't deleted, with those deleted between them */
  | { kind: "part"; file: string; rows: number; reason: CompactionReason };

export interface CompactionOptions {
  /** so many small files of about one size are merged */
  filesMin: number;
  /** a file is written anew when this part of its rows is deleted */
  deletedShareMin: number;
}

/** Small files become files of about this size. */
const fileBytes = 64 * 1024 * 1024;
/** Files below this size are of one tier; each further tier is so many times larger. */
const tierBytes = 64 * 1024;
const tierFactor = 4;
/** Files from this part of `fileBytes` on are large enough. */
const largePart = 0.25;
/** To open a file costs a reader about as much as to read so much of it. */
const bytesOfOpening = 256 * 1024;
/** With so many times `filesMin` files of a tier even two are merged at a time. */
const crowdFactor = 4;

const deletedShare = ({ deleted, records }: FileState) => (records === 0 ? 0 : deleted / records);
const liveBytes = (file: FileState) => file.bytes * (1 - deletedShare(file));

function tierOf(bytes: number): number {
  return Math.max(0, Math.ceil(Math.log(Math.max(bytes, 1) / tierBytes) / Math.log(tierFactor)));
}

/** Whether a file is one that small ones are merged into. */
export function isSmall(file: FileState): boolean {
  return liveBytes(file) < fileBytes * largePart;
}

/**
 * What is best done next; null when nothing is to be done. Pure. Small files are merged by tiers of size, so that a row is
 * written anew as many times as there are tiers, not as often as files come. Of merging small files and dropping deleted
 * rows that one comes first which spares readers more for each byte that it reads.
 * @param bytesMax what one run may read
 */
export function planCompaction(
  files: readonly FileState[],
  options: CompactionOptions,
  bytesMax: number,
): CompactionStep | null {
  const candidates = [mergeSmall(files, options, bytesMax), rewriteDeleted(files, options, bytesMax)];
  const [best] = candidates.filter((each) => each !== null).sort((a, b) => b.urgency - a.urgency);
  return best?.step ?? null;
}

interface Candidate {
  step: CompactionStep;
  /** bytes that a reader is spared, for each byte that is read now */
  urgency: number;
}

function mergeSmall(files: readonly FileState[], options: CompactionOptions, bytesMax: number): Candidate | null {
  const { filesMin } = options;
  const small = files
    .filter((file) => isSmall(file))
    .map((file) => ({ file, tier: tierOf(liveBytes(file)) }))
    .sort((a, b) => liveBytes(a.file) - liveBytes(b.file) || compareText(a.file.path, b.file.path));
  const counts = new Map<number, number>();
  for (const { tier } of small) counts.set(tier, (counts.get(tier) ?? 0) + 1);
  for (const [tier, count] of [...counts].sort(([a], [b]) => a - b)) {
    if (count < filesMin) continue;
    const group = take(
      small.filter((each) => each.tier <= tier).map(({ file }) => file),
      bytesMax,
    );
    // A few files at a time would be merged again and again; yet there must not be more and more of them.
    if (group.length < (count < filesMin * crowdFactor ? Math.ceil(filesMin / 2) : 2)) continue;
    const step: CompactionStep = { kind: "merge", files: group.map(({ path }) => path), reason: "small-files" };
    const spared = deadBytes(group) + (group.length - 1) * bytesOfOpening;
    return { step, urgency: (spared / readBytes(group)) * (count / filesMin) };
  }
  return null;
}

/** Files with most deleted rows first. */
function rewriteDeleted(files: readonly FileState[], options: CompactionOptions, bytesMax: number): Candidate | null {
  const worn = files
    .filter((file) => deletedShare(file) >= options.deletedShareMin)
    .sort((a, b) => deletedShare(b) - deletedShare(a) || compareText(a.path, b.path));
  if (worn.length === 0) return null;
  const group = take(worn, bytesMax);
  const reason = "deleted-rows";
  const [{ path, records, bytes }] = worn;
  if (group.length === 0) {
    const rows = Math.max(1, Math.floor((records * bytesMax) / bytes));
    return { step: { kind: "part", file: path, rows, reason }, urgency: deletedShare(worn[0]) };
  }
  const step: CompactionStep = { kind: "merge", files: group.map((file) => file.path), reason };
  return { step, urgency: (deadBytes(group) + (group.length - 1) * bytesOfOpening) / readBytes(group) };
}

const readBytes = (files: readonly FileState[]) =>
  Math.max(
    1,
    sum(files, (file) => file.bytes),
  );
const deadBytes = (files: readonly FileState[]) => sum(files, (file) => file.bytes - liveBytes(file));

function sum(files: readonly FileState[], of: (file: FileState) => number): number {
  return files.reduce((total, file) => total + of(file), 0);
}

/** As many of the first files as one run may read and one file may hold. */
function take(files: FileState[], bytesMax: number): FileState[] {
  const group: FileState[] = [];
  let bytes = 0;
  let live = 0;
  for (const file of files) {
    bytes += file.bytes;
    live += liveBytes(file);
    if (bytes > bytesMax || (live > fileBytes && group.length > 0)) break;
    group.push(file);
  }
  return group;
}

function compareText(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
