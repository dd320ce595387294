import { isDeepStrictEqual } from "node:util";
import type { TableSchema } from "../change/table-schema";
import { formatLsn, parseLsn } from "../postgres/lsn";
import type { StagedSnapshot } from "../staging/staged-commit";
import type { SnapshotProgress } from "./captured-table";
import { type CopyPart, formatDone, isCopied, parseDone } from "./copy-ranges";
import type { OpenedSnapshot } from "./snapshot-session";
import type { PartFacts } from "./table-parts";

/** A running snapshot as a staged record keeps it. */
export function toStaged(progress: SnapshotProgress): StagedSnapshot {
  const { schemaId, resumable, visibility, lastHorizonLsn, startedAt, rows, bytes, rowsEstimate, parts } = progress;
  return {
    schemaId,
    resumable,
    xmin: String(visibility.xmin),
    xmax: String(visibility.xmax),
    running: [...visibility.running].map(String),
    horizonLsn: formatLsn(visibility.horizonLsn),
    ...(visibility.replay === null ? {} : { seenBelowLsn: formatLsn(visibility.replay.seenBelowLsn) }),
    lastHorizonLsn: formatLsn(lastHorizonLsn),
    startedAt,
    rows,
    bytes,
    rowsEstimate,
    parts: parts.map(({ relationId, fileNode, bytes: partBytes, rangeBlocks, ranges, done }) => ({
      relationId,
      fileNode,
      bytes: partBytes,
      rangeBlocks,
      ranges,
      done: formatDone(done),
    })),
  };
}

export function fromStaged(snapshotId: string, staged: StagedSnapshot, nowMs: number): SnapshotProgress {
  const parts: CopyPart[] = staged.parts.map(({ done, ...part }) => ({
    ...part,
    schema: "",
    name: "",
    done: parseDone(done),
  }));
  return {
    snapshotId,
    schemaId: staged.schemaId,
    resumable: staged.resumable,
    visibility: {
      xmin: BigInt(staged.xmin),
      xmax: BigInt(staged.xmax),
      running: new Set(staged.running.map(BigInt)),
      horizonLsn: parseLsn(staged.horizonLsn),
      replay:
        staged.seenBelowLsn === undefined
          ? null
          : { seenBelowLsn: parseLsn(staged.seenBelowLsn), unseenFromLsn: parseLsn(staged.horizonLsn) },
    },
    lastHorizonLsn: parseLsn(staged.lastHorizonLsn),
    startedAt: staged.startedAt,
    rows: staged.rows,
    bytes: staged.bytes,
    rowsEstimate: staged.rowsEstimate,
    parts,
    copiedAtMs: isCopied(parts) ? nowMs : null,
    settledLsn: null,
    resumedAtMs: nowMs,
    shareAtResume: 0,
  };
}

/** Pure: whether the ranges that are left could be copied under a later snapshot, as far as the first one tells. */
export function isResumable(schema: Omit<TableSchema, "schemaId">, parts: readonly PartFacts[]): boolean {
  return hasKey(schema) && parts.every((part) => !part.leavesValuesUnsent);
}

function hasKey(schema: Pick<TableSchema, "columns">): boolean {
  return schema.columns.some((column) => column.keyOrdinal !== null);
}

/** Pure: what a standby must do first, which was restarted, say: the newer snapshot must see what the first one sees. */
export function resumeWait(progress: SnapshotProgress, { visibility }: OpenedSnapshot): string | null {
  const first = progress.visibility.replay;
  if (visibility.replay === null || first === null) return null;
  if (visibility.replay.seenBelowLsn >= first.seenBelowLsn) return null;
  return `the standby to replay up to ${formatLsn(first.seenBelowLsn)}, where its snapshot was begun; it is at ${formatLsn(visibility.replay.seenBelowLsn)}`;
}

/**
 * Pure: why the ranges that are left can't be copied under a newer snapshot, or null. When they can: a row that no
 * change touched since the first snapshot stands where it stood, so it is in exactly one range; a row that a change
 * touched is in that change as a whole, which is applied last.
 */
export function resumeObstacle(
  schema: TableSchema,
  rowFilter: string | null,
  progress: SnapshotProgress,
  opened: OpenedSnapshot,
): string | null {
  if (!hasKey(schema)) return "it has no key";
  const { table, parts, visibility } = opened;
  if (visibility.replay !== null && progress.visibility.replay === null) return "it was begun on a primary";
  const now = new Map(parts.map((part) => [part.relationId, part]));
  if (now.size !== progress.parts.length) return "its partitions changed";
  for (const part of progress.parts) {
    const found = now.get(part.relationId);
    if (found === undefined) return "its partitions changed";
    // Rows have moved, or were truncated.
    if (found.fileNode !== part.fileNode) return "it was rewritten or truncated";
    // A row moved by an update from a range not copied to one that is: its unsent values would be nowhere.
    if (found.leavesValuesUnsent) return "updates of it may leave values unsent (its replica identity isn't FULL)";
  }
  if (progress.schemaId !== schema.schemaId) return "its columns changed";
  if (!isDeepStrictEqual({ ...table.schema, schemaId: schema.schemaId }, schema)) return "its columns changed";
  if (table.rowFilter !== rowFilter) return "its row filter changed";
  return null;
}
