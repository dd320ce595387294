const unitsMs: Record<string, number> = {
  millisecond: 1,
  second: 1_000,
  minute: 60_000,
  hour: 3_600_000,
  day: 86_400_000,
  week: 7 * 86_400_000,
};

/** How long a table's property says that something is kept: `interval 30 days`; the default where it can't be read. */
function retentionMs(configuration: Record<string, string> | undefined, property: string, defaultMs: number): number {
  const match = /^\s*(?:interval\s+)?(\d+)\s+(\w+?)s?\s*$/i.exec(configuration?.[property] ?? "");
  const unitMs = match === null ? undefined : unitsMs[match[2].toLowerCase()];
  return match === null || unitMs === undefined ? defaultMs : Number(match[1]) * unitMs;
}

/** delta.logRetentionDuration: how far back versions can be read; default 30 days. */
export function logRetentionMs(configuration?: Record<string, string>): number {
  return retentionMs(configuration, "delta.logRetentionDuration", 30 * unitsMs.day);
}

/** delta.deletedFileRetentionDuration: how long files stay that were removed from the table; default 7 days. */
export function fileRetentionMs(configuration?: Record<string, string>, defaultMs = unitsMs.week): number {
  return retentionMs(configuration, "delta.deletedFileRetentionDuration", defaultMs);
}
