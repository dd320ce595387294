import { readFileSync } from "node:fs";
import { basename, join } from "node:path";
import type { RuntimeConfigInput } from "../../runtime/config";
import type { JobDocument } from "../../runtime/job-process";
import { version } from "../../runtime/version";
import { placedConfiguration, recordFile, renderRecord } from "./databricks-configuration";
import type { JobSettings } from "./databricks-jobs-api";
import { describeProcess, digestOf, processFolder, processName } from "./databricks-names";
import type { DatabricksOptions, JobOptions } from "./databricks-options";
import { type PlacedSecret, placedSecrets } from "./databricks-secrets";
import type { ProcessSpec } from "./deployment";
import type { SecretOrigin } from "./secret-origin";

export const taskFile = "job.py";

export interface JobSource {
  /** by name, in the folder of the deployment */
  files: Record<string, string>;
  secrets: Record<string, SecretOrigin>;
  /** of all that it is made of, the job's machine too: another is another deployment */
  digest: string;
  /** of the workspace, named by the digest */
  folder: string;
}

/** Options of a job's target. */
export type JobTarget = DatabricksOptions & { job: JobOptions };

/** Pure: where a process tells how it is: beside all stagings of its staging's volume. */
export function reportPath({ stagingPath }: Pick<RuntimeConfigInput, "stagingPath">, directory: string): string {
  const [, root, catalog, schema, volume] = stagingPath.split("/");
  return `/${root}/${catalog}/${schema}/${volume}/sluice-jobs/${processName(directory)}.json`;
}

/** Pure but for certificates and the task's file, which it reads. @throws SluiceError `config` */
export function jobSource(options: JobTarget, spec: ProcessSpec, reportMs: number): JobSource {
  const { config, secrets } = placedConfiguration(spec, "job");
  const text = taskText();
  const settings = jobSettings(options, spec.directory, "", placedSecrets(options, spec.directory, secrets), null);
  const digest = digestOf([config, settings, text, reportMs, version]);
  const report = { path: reportPath(spec.config, spec.directory), deployment: digest, everyMs: reportMs };
  const document = { config, report } as JobDocument;
  return {
    files: {
      [taskFile]: `job = ${pythonText(JSON.stringify(document))}\n${text}`,
      [recordFile]: renderRecord(spec),
    },
    secrets,
    digest,
    folder: `${processFolder(options, spec.directory)}/${digest}`,
  };
}

const taskText = () => readFileSync(join(__dirname, "databricks_job.py"), "utf8");

/** Pure: JSON's escapes of a text are Python's. */
const pythonText = (text: string) => JSON.stringify(text);

/** Pure: the job of a process, which is paused until it is to run. */
export function jobSettings(
  { job }: JobTarget,
  directory: string,
  folder: string,
  secrets: readonly PlacedSecret[],
  tether: string | null,
): JobSettings {
  const key = "node";
  return {
    name: processName(directory),
    description: describeProcess(directory, tether),
    tags: { sluice: basename(directory) },
    max_concurrent_runs: 1,
    continuous: { pause_status: "PAUSED" },
    job_clusters: [{ job_cluster_key: key, new_cluster: clusterOf(job, secrets) }],
    tasks: [
      {
        task_key: "sluice",
        job_cluster_key: key,
        spark_python_task: {
          python_file: `${folder}/${taskFile}`,
          source: "WORKSPACE",
          parameters: [job.nodePath, job.runtimePath, "{{job.run_id}}"],
        },
      },
    ],
  };
}

/** Pure: one node, on which Spark has nothing to do. */
function clusterOf(job: JobOptions, secrets: readonly PlacedSecret[]): Record<string, unknown> {
  const { cluster, image, login, nodeTypeId, policyId, sparkVersion } = job;
  const { spark_conf, custom_tags, ...further } = cluster;
  return {
    ...further,
    spark_version: sparkVersion,
    node_type_id: nodeTypeId,
    ...(policyId === undefined ? {} : { policy_id: policyId }),
    num_workers: 0,
    spark_conf: {
      ...(spark_conf as object | undefined),
      "spark.databricks.cluster.profile": "singleNode",
      "spark.master": "local[*]",
    },
    custom_tags: { ...(custom_tags as object | undefined), ResourceClass: "SingleNode" },
    // Dedicated to who runs the job: no other mode takes an image.
    data_security_mode: "SINGLE_USER",
    docker_image: {
      url: image,
      ...(login === undefined
        ? {}
        : {
            basic_auth: {
              username: reference(login.scope, login.usernameKey),
              password: reference(login.scope, login.passwordKey),
            },
          }),
    },
    spark_env_vars: Object.fromEntries(secrets.map(({ variable, scope, key }) => [variable, reference(scope, key)])),
  };
}

/** Pure: the platform puts the secret in its place. */
const reference = (scope: string, key: string) => `{{secrets/${scope}/${key}}}`;

/** Pure: fields of a job that somebody has set otherwise. What the platform adds, or writes in its own way, is none. */
export function changedFields(settings: JobSettings, { job }: JobTarget): string[] {
  const cluster = settings.job_clusters?.[0]?.new_cluster ?? {};
  const image = (cluster.docker_image as { url?: string } | undefined)?.url;
  const pairs: [string, unknown, string][] = [
    ["image", image, job.image],
    ["node type", cluster.node_type_id, job.nodeTypeId],
    ["Spark version", cluster.spark_version, job.sparkVersion],
  ];
  return pairs.filter(([, found, wanted]) => found !== wanted).map(([what, found]) => `its job's ${what} is ${found}`);
}

/** Pure: the folder of what a job runs. */
export function folderOf(settings: JobSettings): string | null {
  const file = settings.tasks?.[0]?.spark_python_task?.python_file;
  return file?.endsWith(`/${taskFile}`) ? file.slice(0, -taskFile.length - 1) : null;
}
