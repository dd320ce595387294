/** What a lane tells, a line each, and whether all of it was well. */
export class LaneReport {
  private failures = 0;

  /** `problems`: [] when it is as it should be; 20 of them are told */
  readonly check = (what: string, problems: string[]): void => {
    if (problems.length > 0) this.failures++;
    const seconds = Math.round(performance.now() / 1_000);
    console.log(`[${seconds} s] ${problems.length === 0 ? "ok" : "FAILED"}: ${what}`);
    for (const problem of problems.slice(0, 20)) console.log(`  ${problem}`);
  };

  get isPassed(): boolean {
    return this.failures === 0;
  }
}

/** Rows that one has more often than the other, in any order; [] when they are equal. */
export function difference(found: string[], wanted: string[]): string[] {
  const counts = new Map<string, number>();
  for (const row of wanted) counts.set(row, (counts.get(row) ?? 0) + 1);
  for (const row of found) counts.set(row, (counts.get(row) ?? 0) - 1);
  return [...counts].filter(([, count]) => count !== 0).map(([row, count]) => `${count > 0 ? "lacks" : "has"} ${row}`);
}
