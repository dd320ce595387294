/** What a lane tells, a line each, and whether all of it was well. */
export class LaneReport {
  private failures = 0;

  /** `problems`: [] when it is as it should be */
  check(what: string, problems: string[]): void {
    if (problems.length > 0) this.failures++;
    console.log(`${problems.length === 0 ? "ok" : "FAILED"}: ${what}`);
    for (const problem of problems.slice(0, 20)) console.log(`  ${problem}`);
  }

  get isPassed(): boolean {
    return this.failures === 0;
  }
}
