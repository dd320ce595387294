import { findJobs, readRecord } from "./databricks-job-find";
import { type Reporting, removeReport } from "./databricks-job-report";
import { stopRuns } from "./databricks-job-runs";
import type { JobsApi } from "./databricks-jobs-api";
import type { DatabricksOptions } from "./databricks-options";
import { abandonedDirectory, removeSources, untilGone } from "./databricks-removal";

/**
 * Runs, report, job, secrets, sources; each verified to be gone. The job goes after what only it tells of.
 * @param known where the job's own record may lack @throws SluiceError `timeout`
 */
export async function removeJob(
  api: JobsApi,
  options: DatabricksOptions,
  directory: string,
  lookMs: number,
  known?: Reporting,
): Promise<void> {
  const { own, foreign } = await findJobs(api, directory);
  if (own.length === 0 && foreign.length > 0) return;
  for (const { job_id } of own) {
    const job = await api.job(job_id);
    if (job === null) continue;
    await stopRuns(api, job, lookMs);
    const config = known?.config ?? (await readRecord(api, job.settings))?.config;
    if (config !== undefined) await removeReport({ config, directory });
    await api.delete(job_id);
    await untilGone(async () => (await api.job(job_id)) === null, `the job ${job_id}`, lookMs);
  }
  await removeSources(api, options, directory, lookMs);
}

/**
 * Removes jobs of processes below a folder whose create was killed on this machine. A job has a folder before it is there, so not all
 * jobs of the workspace are looked at.
 */
export async function sweepJobs(
  api: JobsApi,
  options: DatabricksOptions,
  stateDir: string,
  lookMs: number,
): Promise<void> {
  for (const name of await api.folders(options.folder)) {
    for (const { settings } of await api.jobs(name)) {
      const directory = abandonedDirectory(settings.description, stateDir);
      if (directory !== null) await removeJob(api, options, directory, lookMs);
    }
  }
}
