import type { RuntimeConfigInput } from "../../runtime/config";

/** What runs a process: the gateway for ever and once only, an applier by its trigger. */
export type WorkloadKind = "StatefulSet" | "Deployment" | "CronJob" | "Job";

export const workloadKinds: readonly WorkloadKind[] = ["StatefulSet", "Deployment", "CronJob", "Job"];

export const apiVersions = {
  StatefulSet: "apps/v1",
  Deployment: "apps/v1",
  CronJob: "batch/v1",
  Job: "batch/v1",
} as const;

export interface Workload {
  kind: WorkloadKind;
  /** of a CronJob */
  schedule?: { cron: string; timeZone: string };
}

/** Pure. A schedule that the cluster doesn't read as we do is kept by a process that waits. */
export function workloadOf(config: RuntimeConfigInput): Workload {
  if (config.role === "gateway") return { kind: "StatefulSet" };
  const trigger = config.trigger ?? { kind: "continuous" };
  switch (trigger.kind) {
    case "continuous":
      return { kind: "Deployment" };
    case "once":
      return { kind: "Job" };
    case "schedule": {
      const { cron, timeZone = "UTC" } = trigger;
      return isClusterCron(cron) ? { kind: "CronJob", schedule: { cron, timeZone } } : { kind: "Deployment" };
    }
  }
}

/** Whether the workload's pods end by themselves. */
export const isRunToEnd = (kind: WorkloadKind) => kind === "CronJob" || kind === "Job";

/**
 * Pure: five fields of numbers, names, lists, ranges and steps, which mean the same to Kubernetes: no seconds, no `L`, `W`
 * or `#`, no 7 for Sunday, and not both days of month and of week.
 */
export function isClusterCron(cron: string): boolean {
  const fields = cron.trim().split(/\s+/);
  if (fields.length !== 5) return false;
  const [, , dayOfMonth, month, dayOfWeek] = fields;
  const months = /JAN|FEB|MAR|APR|MAY|JUN|JUL|AUG|SEP|OCT|NOV|DEC/gi;
  const days = /SUN|MON|TUE|WED|THU|FRI|SAT/gi;
  const plain = [...fields.slice(0, 3), month.replaceAll(months, "1"), dayOfWeek.replaceAll(days, "1")];
  if (!plain.every((field) => /^[\d*,/-]+$/.test(field)) || /7/.test(dayOfWeek)) return false;
  return dayOfMonth === "*" || dayOfWeek === "*";
}
