import type { StatusDocument } from "../../runtime/status";
import { findJob, findJobs, readRecord } from "./databricks-job-find";
import { readReport } from "./databricks-job-report";
import { reportOf } from "./databricks-job-runs";
import { changedFields, folderOf, type JobTarget } from "./databricks-job-source";
import { endOf, isActive, type JobsApi } from "./databricks-jobs-api";
import { processFolder, processName } from "./databricks-names";
import type { Inspection } from "./deployment";

/** A process that has told nothing for so long isn't there, whatever its run says. */
const silenceMsMax = 300_000;

/** What is there of a process; changes nothing. */
export async function inspectJob(api: JobsApi, options: JobTarget, directory: string): Promise<Inspection> {
  const { own, foreign } = await findJobs(api, directory);
  const job = own.length === 0 ? null : await api.job(own[0].job_id);
  if (job === null) {
    return foreign.length === 0 ? { kind: "absent" } : { kind: "foreign", what: `the job ${processName(directory)}` };
  }
  const deployed = await readRecord(api, job.settings);
  const folder = folderOf(job.settings);
  const isElsewhere = folder === null || !folder.startsWith(`${processFolder(options, directory)}/`);
  const changed = [
    ...(isElsewhere ? [`the job ${processName(directory)} runs ${folder ?? "something else"}`] : []),
    ...changedFields(job.settings, options),
  ];
  const settings = {
    configuration: deployed?.record.configuration ?? "",
    version: deployed?.record.version,
    ...(changed.length === 0 ? {} : { changed }),
  };
  if (job.settings.continuous?.pause_status === "PAUSED" || deployed === null) return { kind: "dead", ...settings };
  const runs = await api.runs(job.job_id);
  const active = runs.find(isActive);
  if (active === undefined) {
    const [last] = runs;
    if (last === undefined) return { kind: "dead", ...settings };
    return { kind: "failed", message: endOf(last), remedy: remedyOf(last.run_page_url), ...settings };
  }
  // Its machine is being made, or taken down.
  if (active.status?.state !== "RUNNING") return { kind: "dead", ...settings };
  const report = reportOf(await readReport({ config: deployed.config, directory }), active);
  const state = report?.status?.state;
  if (report === null) {
    return { kind: "failed", message: "its run tells nothing", remedy: remedyOf(active.run_page_url), ...settings };
  }
  if (state?.kind === "failed") return { kind: "failed", message: state.message, remedy: state.remedy, ...settings };
  if (Date.now() - Date.parse(report.at) > silenceMsMax) {
    const message = `it has told nothing since ${report.at}`;
    return { kind: "failed", message, remedy: remedyOf(active.run_page_url), ...settings };
  }
  return { kind: "running", ...settings };
}

const remedyOf = (page: string | undefined) => `See ${page ?? "the run's page in the workspace"}.`;

/** What the process of a job's run says of itself; null while none is under way. */
export async function statusOfJob(api: JobsApi, directory: string): Promise<StatusDocument | null> {
  const job = await findJob(api, directory);
  const deployed = job === null ? null : await readRecord(api, job.settings);
  if (job === null || deployed === null) return null;
  const active = (await api.runs(job.job_id)).find(isActive);
  if (active === undefined) return null;
  return reportOf(await readReport({ config: deployed.config, directory }), active)?.status ?? null;
}
