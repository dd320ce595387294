import { randomUUID } from "node:crypto";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

type Json = Record<string, unknown>;
interface Stored extends Json {
  metadata: { name: string; uid: string; labels?: Record<string, string>; annotations?: Record<string, string> };
}

const kinds: Record<string, string> = {
  serviceaccounts: "ServiceAccount",
  configmaps: "ConfigMap",
  secrets: "Secret",
  persistentvolumeclaims: "PersistentVolumeClaim",
  services: "Service",
  pods: "Pod",
  events: "Event",
  networkpolicies: "NetworkPolicy",
  poddisruptionbudgets: "PodDisruptionBudget",
  statefulsets: "StatefulSet",
  deployments: "Deployment",
  cronjobs: "CronJob",
  jobs: "Job",
  namespaces: "Namespace",
  storageclasses: "StorageClass",
  selfsubjectaccessreviews: "SelfSubjectAccessReview",
};

/**
 * An API server from memory, over a real socket: objects by path, server-side apply with field managers and their conflicts,
 * dry runs, merge patches, selectors, access reviews, and answers that are `Status` objects. What a kubelet and controllers
 * would do is played by `onApplied`.
 */
export class ClusterStandIn {
  /** `verb resource`, as `create secrets`: refused by reviews and requests */
  readonly denied = new Set<string>();
  /** answers of the next requests with this method and resource: status codes */
  readonly failing = new Map<string, number[]>();
  readonly requests: string[] = [];
  /** of pods, by name */
  readonly logs = new Map<string, string>();
  onApplied: (kind: string, object: Stored) => void = () => {};
  private readonly objects = new Map<string, Stored>();
  /** who has set a field, by object and path */
  private readonly managers = new Map<string, Map<string, string>>();

  private constructor(private readonly server: Server) {}

  static async start(): Promise<ClusterStandIn> {
    const server = createServer();
    const standIn = new ClusterStandIn(server);
    server.on("request", (request, response) => void standIn.answer(request, response));
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    return standIn;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.server.address() as AddressInfo).port}`;
  }

  async stop(): Promise<void> {
    this.server.closeAllConnections();
    await new Promise((resolve) => this.server.close(resolve));
  }

  /** A kubeconfig with one context, `stand-in`. */
  get kubeconfig(): string {
    const cluster = { name: "stand-in", cluster: { server: this.url, "insecure-skip-tls-verify": true } };
    const user = { name: "tester", user: { token: "t0ken" } };
    const context = { name: "stand-in", context: { cluster: "stand-in", user: "tester" } };
    const lists = { clusters: [cluster], users: [user], contexts: [context] };
    return JSON.stringify({ apiVersion: "v1", kind: "Config", "current-context": "stand-in", ...lists });
  }

  get(resource: string, name: string): Stored | undefined {
    return this.objects.get(`${resource}/${name}`);
  }

  names(): string[] {
    return [...this.objects.keys()].sort();
  }

  put(resource: string, name: string, body: Json = {}): Stored {
    const { metadata = {}, ...rest } = body as { metadata?: Json };
    const stored = { ...rest, metadata: { uid: randomUUID(), ...metadata, name } } as Stored;
    this.objects.set(`${resource}/${name}`, stored);
    return stored;
  }

  remove(resource: string, name: string): void {
    this.objects.delete(`${resource}/${name}`);
  }

  /** Somebody else sets a field: it is known as theirs. */
  edit(resource: string, name: string, path: string, value: unknown, manager: string): void {
    const object = this.get(resource, name) as Stored;
    const keys = path.split(".");
    const parent = keys.slice(0, -1).reduce<Json>((inner, key) => inner[key] as Json, object);
    parent[keys.at(-1) as string] = value;
    const managers = this.managers.get(`${resource}/${name}`) ?? new Map<string, string>();
    this.managers.set(`${resource}/${name}`, managers.set(path, manager));
  }

  private async answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = new URL(request.url as string, this.url);
    const parts = url.pathname.split("/").filter((part) => part !== "");
    // /api/v1/… or /apis/<group>/<version>/…, with or without namespaces/<name>
    const rest = parts.slice(parts[0] === "api" ? 2 : 3);
    const [resource, name, part] = rest[0] === "namespaces" && rest.length > 2 ? rest.slice(2) : rest;
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const body = chunks.length === 0 ? {} : (JSON.parse(Buffer.concat(chunks).toString("utf8")) as Json);
    const method = request.method as string;
    this.requests.push(
      `${method} ${resource}${name === undefined ? "" : `/${name}`}${url.searchParams.has("dryRun") ? " (dry)" : ""}`,
    );
    const send = (code: number, answer: Json) =>
      response.writeHead(code, { "content-type": "application/json" }).end(JSON.stringify(answer));
    const fail = (code: number, reason: string, message: string, causes: Json[] = []) =>
      send(code, {
        kind: "Status",
        status: "Failure",
        code,
        reason,
        message,
        details: { name, kind: resource, causes },
      });
    const scripted = this.failing.get(`${method} ${resource}`)?.shift();
    if (scripted !== undefined) return void fail(scripted, "Scripted", `scripted ${scripted}`);
    if (request.headers.authorization !== "Bearer t0ken") return void fail(401, "Unauthorized", "Unauthorized");
    if (kinds[resource] === undefined)
      return void fail(404, "NotFound", "the server could not find the requested resource");
    const key = `${resource}/${name}`;
    const found = this.objects.get(key);
    const verb = { GET: name === undefined ? "list" : "get", PATCH: "patch", DELETE: "delete", POST: "create" }[
      method
    ] as string;
    if (this.denied.has(`${verb} ${resource}`)) {
      return void fail(
        403,
        "Forbidden",
        `${resource} is forbidden: User "tester" cannot ${verb} resource "${resource}"`,
      );
    }
    if (part === "log") return void response.writeHead(200).end(this.logs.get(name) ?? "");
    switch (method) {
      case "GET": {
        if (name !== undefined)
          return void (found === undefined
            ? fail(404, "NotFound", `${resource} "${name}" not found`)
            : send(200, this.typed(resource, found)));
        const items = [...this.objects].filter(([at]) => at.startsWith(`${resource}/`)).map(([, object]) => object);
        return void send(200, {
          kind: `${kinds[resource]}List`,
          items: items.filter((item) => matches(item, url.searchParams)),
        });
      }
      case "POST": {
        const { verb: asked, resource: of } = (body.spec as { resourceAttributes: Json }).resourceAttributes;
        return void send(201, { ...body, metadata: {}, status: { allowed: !this.denied.has(`${asked} ${of}`) } });
      }
      case "DELETE":
        if (found === undefined) return void fail(404, "NotFound", `${resource} "${name}" not found`);
        this.objects.delete(key);
        for (const [at, object] of this.objects) if (object.owner === found.metadata.uid) this.objects.delete(at);
        return void send(200, { kind: "Status", status: "Success" });
      default: {
        if (request.headers["content-type"] === "application/merge-patch+json") {
          merge(found as Json, body);
          return void send(200, found as Json);
        }
        const conflicts = [...(this.managers.get(key) ?? [])].filter(
          ([path]) => valueAt(body, path) !== undefined && valueAt(body, path) !== valueAt(found ?? {}, path),
        );
        if (conflicts.length > 0 && url.searchParams.get("force") !== "true") {
          const causes = conflicts.map(([path, manager]) => ({
            reason: "FieldManagerConflict",
            message: `conflict with "${manager}" using apps/v1`,
            field: `.${path}`,
          }));
          return void fail(409, "Conflict", `Apply failed with ${causes.length} conflict`, causes);
        }
        const metadata = { ...(body.metadata as Json), uid: found?.metadata.uid ?? randomUUID() };
        const stored = {
          ...body,
          metadata,
          ...(found?.status === undefined ? {} : { status: found.status }),
        } as Stored;
        if (url.searchParams.has("dryRun")) return void send(200, stored);
        this.managers.delete(key);
        this.objects.set(key, stored);
        this.onApplied(kinds[resource], stored);
        return void send(200, stored);
      }
    }
  }

  private typed = (resource: string, object: Stored): Json => ({ kind: kinds[resource], ...object });
}

function matches({ metadata, ...object }: Stored, query: URLSearchParams): boolean {
  const labels = query.get("labelSelector")?.split(",") ?? [];
  const fields = query.get("fieldSelector")?.split(",") ?? [];
  const isLabelled = labels.every((one) => {
    const [label, value] = one.split("=");
    return metadata.labels?.[label] === value;
  });
  return isLabelled && fields.every((one) => valueAt(object, one.split("=")[0]) === one.split("=")[1]);
}

function valueAt(object: Json, path: string): unknown {
  return path.split(".").reduce<unknown>((inner, key) => (inner as Json | undefined)?.[key], object);
}

/** RFC 7386. */
function merge(target: Json, patch: Json): void {
  for (const [key, value] of Object.entries(patch)) {
    if (value === null) delete target[key];
    else if (typeof value === "object" && typeof target[key] === "object") merge(target[key] as Json, value as Json);
    else target[key] = value;
  }
}
