// Loaded before the runtime (node --require): its destination then fails (as a full disk does), is slow and loses
// responses for a while, by a seed.
import { writeFileSync } from "node:fs";
import { setTimeout as pause } from "node:timers/promises";
import * as deltaLog from "../../runtime/destination/delta/delta-log";
import * as parquetFile from "../../runtime/destination/parquet-file";
import { Random } from "../support/random";

const [seed, ms] = (process.env.SLUICE_DISTURBED_DESTINATION ?? "1:0").split(":").map(Number);
const random = new Random(seed);
const untilMs = Date.now() + ms;

function fault(path: string): Error {
  const code = random.choose(["ENOSPC", "EIO"]);
  return deltaLog.failed(path, "written", Object.assign(new Error("disturbed"), { code }));
}

/** Fails before the work, leaving a part of a file, or, its response lost, after it; or is slow. */
async function disturbed<T>(path: string, isWhole: boolean, work: () => Promise<T>): Promise<T> {
  if (Date.now() > untilMs) return work();
  const fate = random.between(1, 24);
  if (fate <= 2) {
    if (!isWhole) writeFileSync(path, "a part");
    throw fault(path);
  }
  if (fate <= 4) await pause(random.between(10, 200));
  const result = await work();
  if (fate >= 23) throw fault(path);
  return result;
}

const { putDeltaCommit, writeDurably, flush } = deltaLog;
const { writeParquet } = parquetFile;
Object.assign(deltaLog, {
  putDeltaCommit: (...given: Parameters<typeof putDeltaCommit>) =>
    disturbed(given[0], true, () => putDeltaCommit(...given)),
  writeDurably: (...given: Parameters<typeof writeDurably>) => disturbed(given[0], false, () => writeDurably(...given)),
  flush: (path: string) => disturbed(path, true, () => flush(path)),
});
Object.assign(parquetFile, {
  writeParquet: (...given: Parameters<typeof writeParquet>) => disturbed(given[3], false, () => writeParquet(...given)),
});
