import { existsSync } from "node:fs";
import { request as requestHttp } from "node:http";
import { type RequestOptions, request as requestHttps } from "node:https";
import { homedir } from "node:os";
import { join } from "node:path";
import { Writable } from "node:stream";
import { setTimeout as pause } from "node:timers/promises";
import { SluiceError } from "../../runtime/errors";
import { clusterError, type StatusAnswer, transportError } from "./kubernetes-errors";
import { fieldManager } from "./kubernetes-names";
import type { ClusterObject } from "./kubernetes-object";
import type { KubernetesOptions } from "./kubernetes-options";

/** An object as the cluster has it. */
export interface LiveObject extends Record<string, unknown> {
  apiVersion?: string;
  kind?: string;
  metadata: {
    name: string;
    uid: string;
    generation?: number;
    labels?: Record<string, string>;
    annotations?: Record<string, string>;
    managedFields?: { manager: string; operation: string; fieldsV1?: object }[];
    deletionTimestamp?: string;
  };
}

/** Kinds that we read and write, by the last part of their path; all but the last three belong to the namespace. */
const plurals: Record<string, string> = {
  ServiceAccount: "serviceaccounts",
  ConfigMap: "configmaps",
  Secret: "secrets",
  PersistentVolumeClaim: "persistentvolumeclaims",
  Service: "services",
  Pod: "pods",
  Event: "events",
  NetworkPolicy: "networkpolicies",
  PodDisruptionBudget: "poddisruptionbudgets",
  ServiceMonitor: "servicemonitors",
  StatefulSet: "statefulsets",
  Deployment: "deployments",
  CronJob: "cronjobs",
  Job: "jobs",
  Namespace: "namespaces",
  StorageClass: "storageclasses",
  SelfSubjectAccessReview: "selfsubjectaccessreviews",
};
const clusterWide = new Set(["Namespace", "StorageClass", "SelfSubjectAccessReview"]);

const workloads = new Set(["StatefulSet", "Deployment", "CronJob", "Job"]);

export const resourceOf = (kind: string) => plurals[kind];

export interface ObjectId {
  apiVersion: string;
  kind: string;
  name: string;
}

export interface ApplyOptions {
  /** takes fields over from others */
  force?: boolean;
  /** nothing is kept: the server says what it would do */
  isDryRun?: boolean;
}

/** One namespace of a cluster. Every call has a deadline; what is transient is tried again. Throws SluiceError. */
export interface Cluster {
  /** for messages: context and server */
  address: string;
  namespace: string;
  /** null when there is no such object, or no such kind */
  find(id: ObjectId): Promise<LiveObject | null>;
  list(apiVersion: string, kind: string, query?: { labels?: string; fields?: string }): Promise<LiveObject[]>;
  apply(object: ClusterObject, options?: ApplyOptions): Promise<LiveObject>;
  /** a JSON merge patch (RFC 7386) */
  patch(id: ObjectId, patch: object): Promise<void>;
  create(apiVersion: string, kind: string, body: object): Promise<LiveObject>;
  /** What a workload owns goes first; all else goes at once. Nothing when it is gone already */
  delete(id: ObjectId): Promise<void>;
  /** what a pod's container has written, its last lines */
  log(pod: string, container: string): Promise<string>;
  /** output of a command in a pod; null when it can't be run */
  run(pod: string, container: string, command: string[]): Promise<string | null>;
}

/** Where it is needed, as most stacks have no cluster; by import, as it is a module of the newer kind. */
const loadLibrary = () => import("@kubernetes/client-node");
type KubeConfig = InstanceType<Awaited<ReturnType<typeof loadLibrary>>["KubeConfig"]>;

const requestTimeoutMs = 20_000;
const attemptsMax = 3;

export async function openCluster(options: KubernetesOptions): Promise<Cluster> {
  const library = await loadLibrary();
  const config = loadConfig(new library.KubeConfig(), options);
  const server = config.getCurrentCluster()?.server as string;
  const { namespace } = options;
  const address = `${config.currentContext} (${server})`;
  let agent: RequestOptions["agent"];

  async function once(
    method: string,
    path: string,
    type?: string,
    body?: object,
  ): Promise<{ code: number; text: string }> {
    const url = new URL(server.replace(/\/$/, "") + path);
    const given: RequestOptions = {};
    try {
      await config.applyToHTTPSOptions(given);
    } catch (cause) {
      throw new SluiceError(
        "authentication",
        `the kubeconfig gives no way into the cluster ${address}: ${(cause as Error).message}`,
        {
          remedy: "Log in to the cluster, so that kubectl works with this context, then run the same again.",
          cause,
        },
      );
    }
    agent ??= given.agent;
    const content = body === undefined ? undefined : JSON.stringify(body);
    const settings: RequestOptions = {
      ...given,
      agent,
      method,
      headers: {
        ...given.headers,
        accept: "application/json",
        ...(content === undefined ? {} : { "content-type": type, "content-length": Buffer.byteLength(content) }),
      },
      signal: AbortSignal.timeout(requestTimeoutMs),
    };
    return new Promise((resolve, reject) => {
      const request = (url.protocol === "http:" ? requestHttp : requestHttps)(url, settings, (response) => {
        const chunks: Buffer[] = [];
        response.on("data", (chunk: Buffer) => chunks.push(chunk));
        response.on("error", reject);
        response.on("end", () =>
          resolve({ code: response.statusCode ?? 0, text: Buffer.concat(chunks).toString("utf8") }),
        );
      });
      request.on("error", reject);
      request.end(content);
    });
  }

  /** All requests may be repeated: what was applied or deleted already is so again. */
  async function askText(doing: string, method: string, path: string, type?: string, body?: object): Promise<string> {
    for (let attempt = 1; ; attempt++) {
      let failure: SluiceError;
      try {
        const { code, text } = await once(method, path, type, body);
        if (code >= 200 && code < 300) return text;
        failure = clusterError(doing, code, parseStatus(text), address);
      } catch (error) {
        failure = error instanceof SluiceError ? error : transportError(doing, error, address);
      }
      if (failure.kind !== "unreachable" || attempt === attemptsMax) throw failure;
      await pause(250 * 2 ** attempt);
    }
  }

  const ask = async (...request: Parameters<typeof askText>) => JSON.parse(await askText(...request)) as LiveObject;

  const pathOf = (apiVersion: string, kind: string, name?: string, query: Record<string, string> = {}) => {
    const base = apiVersion.includes("/") ? `/apis/${apiVersion}` : `/api/${apiVersion}`;
    const scope = clusterWide.has(kind) ? "" : `/namespaces/${namespace}`;
    const search = new URLSearchParams(query).toString();
    return `${base}${scope}/${plurals[kind]}${name === undefined ? "" : `/${name}`}${search === "" ? "" : `?${search}`}`;
  };
  const notFound = (error: unknown) => {
    if (error instanceof SluiceError && error.kind === "missing-object") return null;
    throw error;
  };

  return {
    address,
    namespace,
    find: ({ apiVersion, kind, name }) =>
      ask(`looking at the ${kind} ${name}`, "GET", pathOf(apiVersion, kind, name)).catch(notFound),
    async list(apiVersion, kind, { labels, fields } = {}) {
      const query = {
        ...(labels === undefined ? {} : { labelSelector: labels }),
        ...(fields === undefined ? {} : { fieldSelector: fields }),
      };
      const found = await ask(`listing ${plurals[kind]}`, "GET", pathOf(apiVersion, kind, undefined, query)).catch(
        notFound,
      );
      return ((found?.items ?? []) as LiveObject[]).map((item) => ({ apiVersion, kind, ...item }));
    },
    apply: ({ apiVersion, kind, metadata, ...rest }, { force = false, isDryRun = false } = {}) =>
      ask(
        `${isDryRun ? "trying" : "applying"} the ${kind} ${metadata.name}`,
        "PATCH",
        pathOf(apiVersion, kind, metadata.name, {
          fieldManager,
          fieldValidation: "Strict",
          force: String(force),
          ...(isDryRun ? { dryRun: "All" } : {}),
        }),
        "application/apply-patch+yaml",
        { apiVersion, kind, metadata, ...rest },
      ),
    async patch({ apiVersion, kind, name }, patch) {
      const path = pathOf(apiVersion, kind, name, { fieldManager });
      await ask(`changing the ${kind} ${name}`, "PATCH", path, "application/merge-patch+json", patch);
    },
    create: (apiVersion, kind, body) =>
      ask(`making a ${kind}`, "POST", pathOf(apiVersion, kind), "application/json", { apiVersion, kind, ...body }),
    async delete({ apiVersion, kind, name }) {
      const propagationPolicy = workloads.has(kind) ? "Foreground" : "Background";
      const body = { apiVersion: "v1", kind: "DeleteOptions", propagationPolicy };
      const path = pathOf(apiVersion, kind, name);
      await ask(`removing the ${kind} ${name}`, "DELETE", path, "application/json", body).catch(notFound);
    },
    log: (pod, container) =>
      askText(
        `reading the log of the Pod ${pod}`,
        "GET",
        `${pathOf("v1", "Pod", pod)}/log?${new URLSearchParams({ container, tailLines: "10000" })}`,
      ),
    async run(pod, container, command) {
      const chunks: Buffer[] = [];
      const output = new Writable({
        write(chunk: Buffer, _encoding, done) {
          chunks.push(Buffer.from(chunk));
          done();
        },
      });
      const isDone = new Promise<boolean>((resolve) => {
        new library.Exec(config)
          .exec(namespace, pod, container, command, output, null, null, false, ({ status }) =>
            resolve(status === "Success"),
          )
          .then((socket) => socket.on("close", () => resolve(false)))
          .catch(() => resolve(false));
      });
      const isLate = pause(requestTimeoutMs, false, { ref: false });
      return (await Promise.race([isDone, isLate])) ? Buffer.concat(chunks).toString("utf8") : null;
    },
  };
}

function loadConfig(config: KubeConfig, { kubeconfig, context }: KubernetesOptions): KubeConfig {
  const places = process.env.KUBECONFIG ?? join(homedir(), ".kube", "config");
  const token = "/var/run/secrets/kubernetes.io/serviceaccount/token";
  try {
    if (kubeconfig !== undefined) config.loadFromFile(kubeconfig);
    else if ((process.env.KUBECONFIG ?? "") === "" && !existsSync(places) && !existsSync(token)) {
      throw new SluiceError("config", `there is no kubeconfig: neither KUBECONFIG is set nor is there ${places}`, {
        remedy: "Set KUBECONFIG, or deployment.kubeconfig, to the file with which kubectl reaches the cluster.",
      });
    } else config.loadFromDefault();
  } catch (cause) {
    if (cause instanceof SluiceError) throw cause;
    throw new SluiceError("config", `the kubeconfig ${kubeconfig ?? places} can't be read`, {
      remedy: "Set KUBECONFIG, or deployment.kubeconfig, to the file with which kubectl reaches the cluster.",
      cause,
    });
  }
  const names = config.getContexts().map(({ name }) => name);
  const wanted = context ?? config.getCurrentContext();
  if (!names.includes(wanted) || config.getContextObject(wanted) === null) {
    const which = wanted === undefined || wanted === "" ? "no current context" : `no context ${wanted}`;
    throw new SluiceError("config", `the kubeconfig has ${which}`, {
      remedy: `Set deployment.context to one of: ${names.join(", ") || "(it has none)"}.`,
    });
  }
  config.setCurrentContext(wanted);
  if (config.getCurrentCluster()?.server !== undefined) return config;
  throw new SluiceError("config", `the kubeconfig's context ${wanted} has no cluster`, {
    remedy: "Correct the kubeconfig: kubectl config view shows it.",
  });
}

function parseStatus(text: string): StatusAnswer {
  try {
    return JSON.parse(text) as StatusAnswer;
  } catch {
    return { message: text.slice(0, 200) };
  }
}
