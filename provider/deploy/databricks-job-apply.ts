import { version } from "../../runtime/version";
import { findJob, findJobs, readRecord } from "./databricks-job-find";
import { removeJob } from "./databricks-job-removal";
import { readReport } from "./databricks-job-report";
import { reportOf, stopRuns, waitUntilHealthy } from "./databricks-job-runs";
import {
  changedFields,
  folderOf,
  type JobSource,
  type JobTarget,
  jobSettings,
  jobSource,
} from "./databricks-job-source";
import { isActive, type Job, type JobSettings, type JobsApi } from "./databricks-jobs-api";
import { putSecrets } from "./databricks-secrets";
import type { ProcessSpec } from "./deployment";
import { hostTether } from "./host-tether";

/** How often the platform is asked, and the process tells. */
export interface JobPace {
  lookMs: number;
  reportMs: number;
}

/** Makes a process's job run as specified, in this version, and waits until it is healthy; what was there stays when that fails. */
export async function applyJob(
  api: JobsApi,
  options: JobTarget,
  spec: ProcessSpec,
  tethered: boolean,
  { lookMs, reportMs }: JobPace,
): Promise<Record<string, never>> {
  const { directory } = spec;
  const source = jobSource(options, spec, reportMs);
  const found = await findJob(api, directory);
  const before = found === null ? null : folderOf(found.settings);
  if (found !== null && (await isSettled(api, found, source, options, spec))) {
    // What its machine is still made for isn't ended.
    const former = new Set((await api.runs(found.job_id)).filter((run) => !isActive(run)).map(({ run_id }) => run_id));
    await waitUntilHealthy(api, found, spec, { deployment: source.digest, former, lookMs });
    return {};
  }
  let isTouched = false;
  try {
    const secrets = await putSecrets(api, options, spec, source.secrets, "job");
    await api.writeFolder(source.folder, source.files);
    const settings = jobSettings(options, directory, source.folder, secrets, tethered ? hostTether() : null);
    const job = found ?? (await makeJob(api, settings, directory));
    isTouched = true;
    await run(api, job, settings, lookMs, async (former) => {
      await waitUntilHealthy(api, job, spec, { deployment: source.digest, former, lookMs });
    });
    if (before !== null && before !== source.folder) await api.removeFolder(before);
    return {};
  } catch (error) {
    if (found === null) await removeJob(api, options, directory, lookMs, spec).catch(() => {});
    else if (isTouched) await goBack(api, found, source, lookMs);
    else if (before !== source.folder) await api.removeFolder(source.folder).catch(() => {});
    throw error;
  }
}

/** It runs what it shall, or is about to: with secrets that are values another one may be meant. */
async function isSettled(
  api: JobsApi,
  job: Job,
  { folder }: JobSource,
  options: JobTarget,
  spec: ProcessSpec,
): Promise<boolean> {
  const { settings } = job;
  if (folderOf(settings) !== folder || settings.continuous?.pause_status === "PAUSED") return false;
  if (changedFields(settings, options).length > 0 || Object.keys(spec.secretFiles).length > 0) return false;
  if ((await readRecord(api, settings))?.record.version !== version) return false;
  const active = (await api.runs(job.job_id)).find(isActive);
  if (active === undefined) return false;
  if (active.status?.state !== "RUNNING") return active.status?.state !== "TERMINATING";
  const report = reportOf(await readReport(spec), active);
  return report?.healthy === true && report.status?.state.kind === "running";
}

/** Paused: whichever of two that a lost answer makes is left, none has run. */
async function makeJob(api: JobsApi, settings: JobSettings, directory: string): Promise<Job> {
  await api.create(settings);
  const { own } = await findJobs(api, directory);
  for (const { job_id } of own.slice(1)) await api.delete(job_id);
  return own[0];
}

/** Ends what runs, and lets the job run by its settings: unlike a cancelled run's, this start waits for no grown pause. */
async function run(
  api: JobsApi,
  job: Job,
  settings: JobSettings,
  lookMs: number,
  wait: (former: ReadonlySet<number>) => Promise<void>,
): Promise<void> {
  await stopRuns(api, job, lookMs);
  const former = new Set((await api.runs(job.job_id)).map(({ run_id }) => run_id));
  await api.reset(job.job_id, { ...settings, continuous: { ...settings.continuous, pause_status: "UNPAUSED" } });
  await wait(former);
}

/** As well as it can be: the failure that led here is what is told. */
async function goBack(api: JobsApi, former: Job, { folder }: JobSource, lookMs: number): Promise<void> {
  try {
    if (former.settings.continuous?.pause_status === "PAUSED") {
      await stopRuns(api, former, lookMs);
      await api.reset(former.job_id, former.settings);
    } else await run(api, former, former.settings, lookMs, async () => {});
    if (folderOf(former.settings) !== folder) await api.removeFolder(folder);
  } catch {
    console.log(`warning: the job ${former.settings.name} couldn't be set as it was before; the next update does it`);
  }
}
