import { setTimeout as pause } from "node:timers/promises";
import { SluiceError } from "../../runtime/errors";
import type { JobReport } from "../../runtime/job-process";
import { version } from "../../runtime/version";
import { readReport } from "./databricks-job-report";
import { endOf, isActive, type Job, type JobRun, type JobsApi } from "./databricks-jobs-api";
import { platformTimeoutMs } from "./databricks-removal";
import type { ProcessSpec } from "./deployment";

/** No run is started any more, and those under way are ended: so is their process. @throws SluiceError `timeout` */
export async function stopRuns(api: JobsApi, { job_id }: Job, lookMs: number): Promise<void> {
  await api.update(job_id, { continuous: { pause_status: "PAUSED" } });
  const deadline = Date.now() + platformTimeoutMs;
  const asked = new Set<number>();
  for (;;) {
    const active = (await api.runs(job_id)).filter(isActive);
    if (active.length === 0) return;
    for (const { run_id } of active) {
      if (asked.has(run_id)) continue;
      asked.add(run_id);
      await api.cancel(run_id);
    }
    if (Date.now() > deadline) throw late(`the run ${active[0].run_id} of the job ${job_id} was cancelled, and runs`);
    await pause(lookMs);
  }
}

/**
 * Waits until a run's process is healthy: one that isn't of `former`.
 * @throws SluiceError `process` with its own reason, or `timeout`
 */
export async function waitUntilHealthy(
  api: JobsApi,
  { job_id }: Job,
  spec: ProcessSpec,
  { deployment, former, lookMs }: { deployment: string; former: ReadonlySet<number>; lookMs: number },
): Promise<void> {
  const { config, startTimeoutMs } = spec;
  const platformDeadline = Date.now() + platformTimeoutMs;
  let deadline: number | null = null;
  for (;;) {
    const runs = (await api.runs(job_id)).filter(({ run_id }) => !former.has(run_id));
    const run = runs.find(isActive) ?? runs[0];
    const told = run === undefined ? null : reportOf(await readReport(spec), run);
    const answer = told?.deployment === deployment ? told : null;
    const fail = (message: string, remedy: string) => {
      const tail = answer === null || answer.lines.length === 0 ? "" : `\n  last log lines:\n    ${linesOf(answer)}`;
      return new SluiceError("process", `the ${config.role} of ${config.id} ${message}${tail}`, { remedy });
    };
    const state = answer?.status?.state;
    if (state?.kind === "failed") throw fail(`failed: ${state.message}`, state.remedy ?? "Correct what it says.");
    if (answer?.status != null && answer.status.version !== version) {
      throw fail(
        `is of version ${answer.status.version}, and this is ${version}`,
        "Give deployment.job.image that version.",
      );
    }
    if (answer?.healthy === true && state?.kind === "running") return;
    if (run !== undefined && !isActive(run)) {
      throw fail(`doesn't run: ${endOf(run)}`, `Mend what it says; see ${run.run_page_url ?? "its page"}.`);
    }
    if (run?.status?.state === "RUNNING") deadline ??= Date.now() + startTimeoutMs;
    if (deadline !== null && Date.now() > deadline) {
      const reason =
        state?.kind === "waiting"
          ? state.reason
          : answer === null
            ? `its run ${run?.run_id} runs, and has told nothing`
            : `it is ${state?.kind ?? "not begun"}`;
      throw fail(
        `is not healthy after ${startTimeoutMs} ms: ${reason}`,
        `See ${run?.run_page_url ?? "its run's page"}; mend what it says, or raise startTimeoutMs.`,
      );
    }
    if (deadline === null && Date.now() > platformDeadline) {
      throw late(`the job ${job_id} has no machine: its run is ${run?.status?.state ?? "not begun"}`);
    }
    await pause(lookMs);
  }
}

/** Pure: a report that is of this very run. */
export const reportOf = (report: JobReport | null, { run_id }: JobRun): JobReport | null =>
  report?.run === String(run_id) ? report : null;

const linesOf = ({ lines }: JobReport) => lines.join("\n    ");

const late = (message: string) =>
  new SluiceError("timeout", `${message}, after ${platformTimeoutMs / 60_000} minutes`, {
    remedy: "See the job's page in the workspace, then run the same again.",
  });
