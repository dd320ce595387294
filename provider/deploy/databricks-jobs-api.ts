import { z } from "zod";
import { answers, WorkspaceApi } from "./databricks-workspace-api";

const settingsSchema = z.looseObject({
  name: z.string().optional(),
  description: z.string().optional(),
  continuous: z.looseObject({ pause_status: z.string().optional() }).optional(),
  job_clusters: z.array(z.looseObject({ new_cluster: z.looseObject({}).optional() })).optional(),
  tasks: z
    .array(z.looseObject({ spark_python_task: z.looseObject({ python_file: z.string() }).optional() }))
    .optional(),
});
/** As the API has them; what isn't ours of them is kept. */
export type JobSettings = z.infer<typeof settingsSchema>;

const jobSchema = z.object({ job_id: z.int(), settings: settingsSchema.default({}) });
export type Job = z.infer<typeof jobSchema>;

const runSchema = z.object({
  run_id: z.int(),
  run_page_url: z.string().optional(),
  status: z
    .object({
      /** BLOCKED, PENDING, QUEUED, RUNNING, TERMINATED, TERMINATING, WAITING */
      state: z.string(),
      termination_details: z.object({ code: z.string().optional(), message: z.string().optional() }).optional(),
      queue_details: z.object({ message: z.string().optional() }).optional(),
    })
    .optional(),
});
export type JobRun = z.infer<typeof runSchema>;

const page = { next_page_token: z.string().optional() };
const jobsPage = z.object({ jobs: z.array(jobSchema).default([]), ...page });
const runsPage = z.object({ runs: z.array(runSchema).default([]), ...page });

const nodeTypesPage = z.object({
  node_types: z.array(z.object({ node_type_id: z.string(), is_graviton: z.boolean().optional() })).default([]),
});
export type NodeType = z.infer<typeof nodeTypesPage>["node_types"][number];

/** An id that no job has (any more) is answered so. */
const isAbsent = (error: unknown) => answers(error, 404, ["RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"]);

/** Jobs of one workspace, of version 2.2. */
export class JobsApi extends WorkspaceApi {
  /** Of one name, which needn't be unique, the oldest first; without tasks and clusters. */
  async jobs(name: string): Promise<Job[]> {
    const found: Job[] = [];
    for (let token: string | undefined; ; ) {
      const query = { limit: "100", name, ...(token ? { page_token: token } : {}) };
      const told = await this.json("GET", "/api/2.2/jobs/list", `list its jobs ${name}`, jobsPage, undefined, query);
      found.push(...told.jobs);
      token = told.next_page_token;
      if (!token) break;
    }
    // Whether the case counts in a name is the API's choice.
    return found.filter(({ settings }) => settings.name === name).sort((one, other) => one.job_id - other.job_id);
  }

  /** Null where there is none of this id. */
  async job(id: number): Promise<Job | null> {
    try {
      const query = { job_id: String(id) };
      return await this.json("GET", "/api/2.2/jobs/get", `tell of the job ${id}`, jobSchema, undefined, query);
    } catch (error) {
      if (isAbsent(error)) return null;
      throw error;
    }
  }

  /** Where an answer is lost it is made twice: those of one name are to be looked at. */
  async create(settings: JobSettings): Promise<void> {
    await this.send("POST", "/api/2.2/jobs/create", `make the job ${settings.name}`, settings);
  }

  async reset(id: number, settings: JobSettings): Promise<void> {
    const body = { job_id: id, new_settings: settings };
    await this.send("POST", "/api/2.2/jobs/reset", `change the job ${settings.name}`, body);
  }

  /** Of the settings those that are given. */
  async update(id: number, settings: JobSettings): Promise<void> {
    const body = { job_id: id, new_settings: settings };
    await this.send("POST", "/api/2.2/jobs/update", `change the job ${id}`, body);
  }

  async delete(id: number): Promise<void> {
    try {
      await this.send("POST", "/api/2.2/jobs/delete", `delete the job ${id}`, { job_id: id });
    } catch (error) {
      if (!isAbsent(error)) throw error;
    }
  }

  /** The newest first: those that are under way, and a few that are over. */
  async runs(id: number): Promise<JobRun[]> {
    const query = { job_id: String(id), limit: "20" };
    return (await this.json("GET", "/api/2.2/jobs/runs/list", "list the job's runs", runsPage, undefined, query)).runs;
  }

  /** What machines clusters can have; null where who asks may not see that. */
  async nodeTypes(): Promise<NodeType[] | null> {
    const path = "/api/2.1/clusters/list-node-types";
    try {
      return (await this.json("GET", path, "list its node types", nodeTypesPage)).node_types;
    } catch (error) {
      if (answers(error, 403, [])) return null;
      throw error;
    }
  }

  /** It is asked for alone. */
  async cancel(runId: number): Promise<void> {
    try {
      await this.send("POST", "/api/2.2/jobs/runs/cancel", `cancel the run ${runId}`, { run_id: runId });
    } catch (error) {
      // It has ended by itself.
      if (!answers(error, 400, [])) throw error;
    }
  }
}

/** Pure: it has, or gets, a machine. */
export const isActive = ({ status }: JobRun) => status?.state !== "TERMINATED";

/** Pure: why a run has ended. */
export function endOf({ run_id, status }: JobRun): string {
  const { code, message } = status?.termination_details ?? {};
  return `its run ${run_id} has ended${code === undefined ? "" : ` (${code})`}${message ? `: ${message}` : ""}`;
}
