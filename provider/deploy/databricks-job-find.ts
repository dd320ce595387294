import type { RuntimeConfigInput } from "../../runtime/config";
import { type ProcessRecord, parseRecord, recordFile } from "./databricks-configuration";
import { folderOf } from "./databricks-job-source";
import type { Job, JobSettings, JobsApi } from "./databricks-jobs-api";
import { nameTaken, processName, readDescription } from "./databricks-names";

/** What has the name of a process's job. */
export interface FoundJobs {
  /** its own, the oldest first: more than one where an answer was lost */
  own: Job[];
  foreign: Job[];
}

export async function findJobs(api: JobsApi, directory: string): Promise<FoundJobs> {
  const jobs = await api.jobs(processName(directory));
  const isOwn = ({ settings }: Job) => readDescription(settings.description)?.directory === directory;
  return { own: jobs.filter(isOwn), foreign: jobs.filter((job) => !isOwn(job)) };
}

/** The one job of a process, with all its settings; null where there is none. @throws SluiceError `name-taken` */
export async function findJob(api: JobsApi, directory: string): Promise<Job | null> {
  const { own, foreign } = await findJobs(api, directory);
  if (own.length > 0) return api.job(own[0].job_id);
  if (foreign.length === 0) return null;
  throw nameTaken("job", processName(directory), foreign[0].job_id);
}

/** What a job was deployed with. */
export interface DeployedRecord {
  record: ProcessRecord;
  config: RuntimeConfigInput;
}

export async function readRecord(api: JobsApi, settings: JobSettings): Promise<DeployedRecord | null> {
  const folder = folderOf(settings);
  const record = folder === null ? null : parseRecord(await api.readFile(`${folder}/${recordFile}`));
  if (record === null) return null;
  try {
    return { record, config: JSON.parse(record.configuration) as RuntimeConfigInput };
  } catch {
    return null;
  }
}
