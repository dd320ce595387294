import { statfs } from "node:fs/promises";
import { needsSnapshot } from "../destination/table-apply";
import { SluiceError } from "../errors";
import { faultOf } from "../staging/storage-fault";
import type { ApplyDecision } from "./apply-decision";
import type { TableHome } from "./table-home";

/** A table that was set back behind what staging keeps. */
export function needsPurged(label: string, sequence: number): SluiceError {
  return new SluiceError("staging", `${label} lacks staged commits after ${sequence}, which are no longer kept`, {
    remedy: `The table was set back or removed. Take a new snapshot of it: sluice resync --config FILE --table ${label}`,
  });
}

/** Another table has its place, and no new one is known. */
function displaced({ place, delta }: TableHome): SluiceError {
  const label = `${place.schema}.${place.name}`;
  return new SluiceError("conflict", `${label}: another table of that name has ${delta.path} now`, {
    remedy: "The table goes on as soon as its new name is staged: it was renamed at the source, or dropped.",
  });
}

/** A damaged Delta log that may be another's. */
export function notOurs(thrown: unknown, label: string): SluiceError {
  const error = toSluiceError(thrown, label);
  return new SluiceError(error.kind, error.message, {
    remedy: `Move the table's folder away: it isn't known as this pipeline's, and a new snapshot of ${label} is staged.`,
    cause: thrown,
  });
}

export function toSluiceError(thrown: unknown, label: string): SluiceError {
  if (thrown instanceof SluiceError) return thrown;
  const message = thrown instanceof Error ? thrown.message : String(thrown);
  return new SluiceError("internal", `${label}: ${message}`, { cause: thrown });
}

/** Why nothing can be applied now, and what helps. */
export function blocked(
  decision: Extract<ApplyDecision, { kind: "blocked" }>,
  label: string,
  home: TableHome,
  baseSequence: number,
): SluiceError {
  switch (decision.by) {
    case "purged":
      return needsPurged(label, baseSequence);
    case "options":
      return needsSnapshot(label, decision.reason);
    case "place":
      return displaced(home);
  }
}

/** What a batch writes at least. */
const writtenBytesMin = 4 * 1024 * 1024;

/**
 * DuckDB says why it can't write in words only: whether the disk is full is asked of the file system. It is waited for.
 * @param bytes of the staged files that a batch writes
 */
export async function fullDisk(
  thrown: unknown,
  label: string,
  destinationPath: string,
  bytes: number,
): Promise<SluiceError | null> {
  if (!(thrown instanceof SluiceError) || thrown.kind !== "destination" || faultOf(thrown) !== "permanent") return null;
  const free = await statfs(destinationPath).then(
    ({ bavail, bsize }) => bavail * bsize,
    () => null,
  );
  if (free === null || free >= Math.max(writtenBytesMin, 2 * bytes)) return null;
  const room = `${Math.floor(free / 1024 ** 2)} MiB free`;
  const error = new SluiceError("destination", `${label}: ${destinationPath} is full (${room}): ${thrown.message}`, {
    remedy: "Free space there: it is tried again by itself.",
    cause: thrown,
  });
  return Object.assign(error, { fault: "full" });
}
