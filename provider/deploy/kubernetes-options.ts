import { isAbsolute } from "node:path";
import { z } from "zod";

/** Labels and annotations with this prefix are ours. */
export const kubernetesPrefix = "pulumi-sluice.com/";

/** RFC 1123, as names of namespaces, Secrets and claims are written. */
const nameSchema = z.string().regex(/^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$/, {
  error: "a name in Kubernetes has the characters a-z, 0-9, - and .",
});

/** Kubernetes' resource.Quantity, without signs: 500m, 1.5, 20Gi, 2e3. */
const quantitySchema = z.string().regex(/^\d+(\.\d+)?(m|k|M|G|T|P|Ki|Mi|Gi|Ti|Pi|[eE]\d+)?$/, {
  error: 'a quantity is written as "500m", "2" or "20Gi"',
});

const isOurs = (name: string) => name.startsWith(kubernetesPrefix) || name.startsWith("app.kubernetes.io/");

const textsSchema = z.record(z.string().min(1), z.string()).refine((texts) => !Object.keys(texts).some(isOurs), {
  error: `names that begin with ${kubernetesPrefix} or app.kubernetes.io/ are ours`,
});

const claimShape = {
  /** default: the cluster's own */
  storageClass: z.string().min(1).optional(),
  /**
   * `ReadWriteOnce`: the pods of a deployment run on one node, by affinity; `ReadWriteMany` lets them run on any, where the
   * storage class has it, with hard links and flushes as a local disk has them
   */
  accessMode: z.enum(["ReadWriteOnce", "ReadWriteMany"]).default("ReadWriteOnce"),
};

const tolerationSchema = z.strictObject({
  key: z.string().optional(),
  operator: z.enum(["Exists", "Equal"]).optional(),
  value: z.string().optional(),
  effect: z.enum(["NoSchedule", "PreferNoSchedule", "NoExecute"]).optional(),
  tolerationSeconds: z.int().optional(),
});

/** Settings of the Kubernetes target. */
export const kubernetesOptionsSchema = z.strictObject({
  kind: z.literal("kubernetes"),
  /** absolute path; default: KUBECONFIG, ~/.kube/config, or the service account of the pod that runs Pulumi */
  kubeconfig: z
    .string()
    .refine((path) => isAbsolute(path), { error: "a kubeconfig's path must be absolute" })
    .optional(),
  /** of the kubeconfig; default: its current one */
  context: z.string().min(1).optional(),
  /** it must exist: it is neither made nor removed */
  namespace: nameSchema,
  /** default: `pulumi-sluice:<version of this package>` */
  image: z.string().min(1).optional(),
  imagePullPolicy: z.enum(["IfNotPresent", "Always", "Never"]).default("IfNotPresent"),
  /** names of Secrets of the namespace */
  imagePullSecrets: z.array(nameSchema).optional(),
  /**
   * a Secret that is there, with a key for each secret and file that source and staging name: NAME of `{ env: "NAME" }`, and the
   * last part of a path; default: one of ours, with what they are on this machine
   */
  existingSecret: nameSchema.optional(),
  /** the claim of staging and spool; with staging in a Unity Catalog volume, `size` of a pod's folder on its node */
  staging: z.strictObject({ size: quantitySchema.default("20Gi"), ...claimShape }).prefault({}),
  /** of the destination: a claim that is there by its name, or one that is made, and kept at delete */
  destinationClaim: z.union([nameSchema, z.strictObject({ size: quantitySchema, ...claimShape })]).optional(),
  /** of each container */
  resources: z
    .strictObject({
      requests: z.record(z.string(), quantitySchema).optional(),
      limits: z.record(z.string(), quantitySchema).optional(),
    })
    .optional(),
  nodeSelector: z.record(z.string(), z.string()).optional(),
  tolerations: z.array(tolerationSchema).optional(),
  /** of every object */
  labels: textsSchema.optional(),
  annotations: textsSchema.optional(),
  /** `/healthz`, `/status` and `/metrics` as a Service of the cluster; default false */
  service: z.boolean().default(false),
  /** with `service`: a ServiceMonitor of the Prometheus operator; default none */
  serviceMonitor: z
    .strictObject({
      labels: z.record(z.string(), z.string()).optional(),
      interval: z
        .string()
        .regex(/^\d+(ms|s|m|h)$/, { error: 'an interval is written as "30s"' })
        .default("30s"),
    })
    .optional(),
  /** only what the process needs may come in and go out; default true */
  networkPolicy: z.boolean().default(true),
  /** pods that a drain of their node may evict at once: 1, the default, or 0, which holds the drain up */
  maxUnavailable: z.union([z.literal(0), z.literal(1)]).default(1),
  /** `uid:gid` of the process; default 65532:65532 */
  user: z
    .string()
    .regex(/^[1-9]\d*:\d+$/, { error: 'a user is written as "uid:gid", in numbers, and isn\'t root' })
    .default("65532:65532"),
  /** what somebody else has set of our objects: `take`, the default, sets it back and says so; `refuse` fails */
  onConflict: z.enum(["take", "refuse"]).default("take"),
});
export type KubernetesOptions = z.infer<typeof kubernetesOptionsSchema>;
