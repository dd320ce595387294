/**
 * Named places where a test kills the process as `kill -9` would: `SLUICE_FAILPOINT=name` at the first pass,
 * `SLUICE_FAILPOINT=name:3` at the third. Without the variable a pass costs one comparison.
 */
export const failpoints = [
  "gateway.before-overflow",
  "gateway.before-file",
  "gateway.after-file",
  "gateway.after-snapshot-file",
  "gateway.after-range-files",
  "gateway.after-range-done",
  "gateway.before-snapshot-end",
  "gateway.after-snapshot-end",
  "gateway.after-schema-file",
  "gateway.before-record",
  "gateway.after-record",
  "gateway.before-acknowledge",
  "gateway.after-acknowledge",
  "gateway.after-slot-loss-recorded",
  "gateway.after-slot-dropped",
  "gateway.after-slot-created",
  "applier.after-rewritten-file",
  "applier.after-partition-file",
  "applier.after-change-data",
  "applier.after-data-files",
  "applier.after-compacted-files",
  "applier.before-compaction-commit",
  "applier.after-compaction-commit",
  "applier.during-vacuum",
  "applier.after-purged-record",
  "applier.before-drop",
  "applier.after-drop",
  "applier.before-commit",
  "applier.after-commit",
] as const;
export type Failpoint = (typeof failpoints)[number];

const [armed, passes] = (process.env.SLUICE_FAILPOINT ?? "").split(":");
let remaining = Number(passes ?? 1);

export function failpoint(name: Failpoint): void {
  if (armed !== name) return;
  remaining--;
  if (remaining === 0) process.kill(process.pid, "SIGKILL");
}
