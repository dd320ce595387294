import type * as pulumi from "@pulumi/pulumi";
import { databricksPackage } from "./package";

/** As checked: with its defaults. */
export interface Schedule {
  quartzCron: string;
  timeZone: string;
  paused: boolean;
}

/** A job that starts a pipeline by a Quartz schedule. @param task the key of its only task */
export function declareSchedule(
  name: string,
  args: { label: string; schedule: pulumi.Output<Schedule>; task: string; pipelineId: pulumi.Output<string> },
  options: pulumi.CustomResourceOptions,
): void {
  const { Job } = databricksPackage();
  const { label, schedule, task, pipelineId } = args;
  new Job(
    `${name}-schedule`,
    {
      name: `${label}-schedule`,
      maxConcurrentRuns: 1,
      schedule: {
        quartzCronExpression: schedule.apply(({ quartzCron }) => quartzCron),
        timezoneId: schedule.apply(({ timeZone }) => timeZone),
        pauseStatus: schedule.apply(({ paused }) => (paused ? "PAUSED" : "UNPAUSED")),
      },
      tasks: [{ taskKey: task, pipelineTask: { pipelineId } }],
    },
    options,
  );
}
