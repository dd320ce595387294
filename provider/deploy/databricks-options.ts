import { z } from "zod";
import { workspaceSchema } from "../../runtime/databricks-config";

/** Fields of a cluster that are ours. */
const ownFields = [
  "spark_version",
  "node_type_id",
  "num_workers",
  "autoscale",
  "data_security_mode",
  "docker_image",
  "policy_id",
  "spark_env_vars",
];

const jobSchema = z.strictObject({
  /** of a registry that the workspace's clusters reach: one of Databricks' bases with Node and our bundle */
  image: z.string().min(1),
  /** who pulls it; default: nobody in particular */
  login: z
    .strictObject({ scope: z.string().min(1), usernameKey: z.string().min(1), passwordKey: z.string().min(1) })
    .optional(),
  sparkVersion: z
    .string()
    .min(1)
    .refine((version) => !/-ml-|-aarch64-/.test(version), {
      error: "deployment.job.sparkVersion: neither an ML runtime nor one for ARM takes an image",
    }),
  nodeTypeId: z.string().min(1),
  policyId: z.string().min(1).optional(),
  /** further fields of the cluster, as the API has them */
  cluster: z
    .record(z.string(), z.unknown())
    .refine((fields) => ownFields.every((name) => !(name in fields)), {
      error: `deployment.job.cluster: ${ownFields.join(", ")} are set otherwise`,
    })
    .default({}),
  /** in the image */
  nodePath: z.string().min(1).default("/usr/local/bin/node"),
  /** in the image */
  runtimePath: z.string().min(1).default("/sluice/main.js"),
});
export type JobOptions = z.output<typeof jobSchema>;

/** Settings of the targets in a Databricks workspace: apps, or jobs. */
export const databricksOptionsSchema = z
  .strictObject({
    kind: z.literal("databricks"),
    /** who makes them; of apps OAuth of a service principal, as an app answers no other token */
    workspace: workspaceSchema.prefault({}),
    /** of each app; default: the workspace's own, MEDIUM (2 processors, 6 GB) */
    computeSize: z.enum(["MEDIUM", "LARGE"]).optional(),
    /** of the workspace, for the processes' sources */
    folder: z
      .string()
      .regex(/^\/Workspace\/(Shared|Users)\/.+[^/]$/, {
        error: "a folder of the workspace begins with /Workspace/Shared/ or /Workspace/Users/",
      })
      .default("/Workspace/Shared/sluice"),
    /** a secret scope that is there, with a key for each secret: NAME of `{ env: "NAME" }`; default: one of ours for each process */
    secretScope: z.string().min(1).max(128).optional(),
    /** each process is a continuous job instead of an app */
    job: jobSchema.optional(),
  })
  .refine(({ job, computeSize }) => job === undefined || computeSize === undefined, {
    error: "deployment.computeSize is of apps; a job's size is job.nodeTypeId",
  });
export type DatabricksOptions = z.infer<typeof databricksOptionsSchema>;
