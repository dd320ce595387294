import { SluiceError } from "../../runtime/errors";
import { applyJob, type JobPace } from "./databricks-job-apply";
import { findJob, findJobs } from "./databricks-job-find";
import { inspectJob, statusOfJob } from "./databricks-job-inspection";
import { removeJob, sweepJobs } from "./databricks-job-removal";
import type { JobTarget } from "./databricks-job-source";
import { JobsApi } from "./databricks-jobs-api";
import { describeProcess } from "./databricks-names";
import { checkSecrets } from "./databricks-secrets";
import { noFolders, problemOf, withWorkspace } from "./databricks-target";
import type { Deployment } from "./deployment";
import { dropFromHere } from "./table-drop";

/**
 * Continuous jobs of one workspace, one for each process, known by the process's folder in their descriptions. Each run has a machine
 * of its own, made of an image with our runtime; the process tells how it is in its staging's volume.
 */
export function databricksJobsDeployment(
  options: JobTarget,
  pace: JobPace = { lookMs: 2_000, reportMs: 10_000 },
): Deployment {
  const { lookMs } = pace;
  const within = <T>(work: (api: JobsApi) => Promise<T>) =>
    withWorkspace(options, (client) => work(new JobsApi(client)));
  return {
    isHere: false,
    staging: noFolders("a job"),
    preflight: (spec) =>
      problemOf(spec, "job", () =>
        within(async (api) => {
          if (spec === null) return void (await api.jobs("sluice"));
          await checkMachine(api, options);
          await findJob(api, spec.directory);
          await checkSecrets(api, options, spec, "job");
        }),
      ),
    apply: (spec, { tethered = false } = {}) => within((api) => applyJob(api, options, spec, tethered, pace)),
    keep: (directory) =>
      within(async (api) => {
        for (const { job_id } of (await findJobs(api, directory)).own) {
          await api.update(job_id, { description: describeProcess(directory, null) });
        }
      }),
    inspect: (directory) => within((api) => inspectJob(api, options, directory)),
    status: (directory) => within((api) => statusOfJob(api, directory)),
    remove: (directory) => within((api) => removeJob(api, options, directory, lookMs)),
    // A warehouse is reached from anywhere.
    dropTables: dropFromHere,
    sweep: (stateDir) => within((api) => sweepJobs(api, options, stateDir, lookMs)),
  };
}

/** @throws SluiceError `config` */
async function checkMachine(api: JobsApi, { job: { nodeTypeId } }: JobTarget): Promise<void> {
  const types = await api.nodeTypes();
  const found = types?.find(({ node_type_id }) => node_type_id === nodeTypeId);
  if (types === null || (found !== undefined && found.is_graviton !== true)) return;
  const what =
    found === undefined
      ? `the workspace has no node type ${nodeTypeId}`
      : `${nodeTypeId} is of ARM, which takes no image`;
  throw new SluiceError("config", `deployment.job: ${what}`, {
    remedy: "Name one that databricks clusters list-node-types has, of x86.",
  });
}
