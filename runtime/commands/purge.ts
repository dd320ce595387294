import type { RuntimeConfig } from "../config";
import { SluiceError } from "../errors";
import { openStaging } from "../staging/open-staging";
import { purgeRead } from "../staging/read-purge";

const unitMs: Record<string, number> = { m: 60_000, h: 3_600_000, d: 86_400_000 };

/**
 * `sluice purge`: removes from staging what all who read it have told to need no more, and what is old enough. Appliers do so by
 * themselves; a declarative pipeline doesn't.
 */
export async function printPurge(
  config: RuntimeConfig,
  { olderThan, pastSnapshots, isDry, asJson }: PurgeRequest,
): Promise<void> {
  const beforeMs = Date.now() - durationMs(olderThan);
  const purged = await purgeRead(await openStaging(config), { beforeMs, pastSnapshots, isDry });
  if (asJson) {
    process.stdout.write(`${JSON.stringify({ dryRun: isDry, ...purged })}\n`);
    return;
  }
  const { records, files, tail, head, heldBy } = purged;
  const what = isDry ? "would be removed" : "removed";
  process.stdout.write(`${records} records with ${files} files ${what}; ${tail} to ${head} are left\n`);
  if (heldBy !== null) process.stdout.write(`held by ${heldBy}\n`);
}

export interface PurgeRequest {
  /** as in `7d`, `12h`, `30m` */
  olderThan: string;
  pastSnapshots: boolean;
  isDry: boolean;
  asJson: boolean;
}

function durationMs(text: string): number {
  const [, count, unit] = /^(\d{1,6})([mhd])$/.exec(text) ?? [];
  if (count !== undefined) return Number(count) * unitMs[unit];
  throw new SluiceError("config", `sluice purge: --older-than ${text} is no duration`, {
    remedy: "Give minutes, hours or days, as in --older-than 30m, 12h or 7d.",
  });
}
