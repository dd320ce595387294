import { type ChildProcess, spawn } from "node:child_process";
import { randomUUID } from "node:crypto";
import { mkdirSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { createServer, request as plainRequest, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { dirname, join, resolve } from "node:path";
import { gunzipSync } from "node:zlib";
import { extract } from "tar-stream";
import { parse } from "yaml";
import { ApiFailure, type Reply } from "./databricks-reply";
import { freePort } from "./free-port";

type Values = Record<string, unknown>;

interface Deployment {
  deployment_id: string;
  source_code_path: string;
  mode: string;
  status: { state: string; message: string };
}

interface StandInApp {
  name: string;
  description?: string;
  compute_size?: string;
  resources: { name: string; secret?: { scope: string; key: string; permission: string } }[];
  compute: { state: string; message: string };
  app: { state: string; message: string };
  active?: Deployment;
  pending?: Deployment;
  deployments: Deployment[];
  front: Server;
  run: Run | null;
  /** what it has printed */
  log: string;
  /** how often what ran had to be killed, as it hadn't ended in time */
  kills: number;
}

/** A process of an app, with a disk and a port of its own. */
interface Run {
  child: ChildProcess;
  place: string;
  port: number;
}

const root = resolve(__dirname, __dirname.includes("/dist/") ? "../../.." : "../..");
const fileBytesMax = 10 * 1024 * 1024;
const stopMs = 15_000;

/**
 * Databricks Apps, workspace files and secrets: what is deployed runs as a process of this machine, with what its package.json and
 * that of its packages name (linked rather than fetched), the environment that the platform gives and no other, and a front that
 * lets OAuth tokens ask below /api alone. A process has 15 seconds to end, and its disk goes with it. States change as they are
 * looked at, so that nothing waits.
 */
export class DatabricksApps {
  readonly apps = new Map<string, StandInApp>();
  readonly files = new Map<string, Buffer>();
  readonly scopes = new Map<string, Map<string, string>>();
  /** of the next deployment: it fails so */
  failNext: string | null = null;
  /** a file with certificates of authorities that its machines trust beside the public ones */
  trusted: string | null = null;
  /** a deployment's process begins while the former is still there, as nobody says that it doesn't */
  isOverlapping = false;

  constructor(
    private readonly folder: string,
    private readonly host: () => string,
    private readonly isOAuth: (token: string) => boolean,
  ) {}

  /** Null for what isn't theirs. */
  async answer(method: string, path: string, query: URLSearchParams, content: string): Promise<Reply | null> {
    const body = (content === "" ? {} : tryJson(content)) as Values;
    if (path.startsWith("/api/2.0/workspace/")) return this.workspace(`${method} ${path.slice(19)}`, query, body);
    if (path.startsWith("/api/2.0/secrets/")) return this.secrets(`${method} ${path.slice(17)}`, query, body);
    const [, name, rest = ""] = /^\/api\/2\.0\/apps(?:\/([^/]+)(\/.+)?)?$/.exec(path) ?? [];
    if (!path.startsWith("/api/2.0/apps")) return null;
    if (name === undefined) return method === "POST" ? this.create(body) : this.list(query);
    const app = this.apps.get(name);
    if (app === undefined)
      throw new ApiFailure(404, "RESOURCE_DOES_NOT_EXIST", `App with name ${name} does not exist.`);
    switch (`${method} ${rest.replace(/^(\/deployments)\/.*/, "$1/id")}`) {
      case "GET ":
        return ok(this.look(app));
      case "PATCH ":
        this.settle(app, body);
        return ok(this.look(app));
      case "DELETE ":
        app.compute = { state: "DELETING", message: "" };
        await this.end(app.run, app);
        return ok(this.describe(app));
      case "POST /start":
        app.compute = { state: "STARTING", message: "" };
        return ok(this.describe(app));
      case "POST /stop":
        await this.end(app.run, app);
        app.compute = { state: "STOPPED", message: "App compute is stopped." };
        return ok(this.describe(app));
      case "POST /deployments":
        return ok(await this.deploy(app, String(body.source_code_path), String(body.mode)));
      case "GET /deployments/id": {
        const found = app.deployments.find(({ deployment_id }) => rest.endsWith(deployment_id));
        if (found === undefined) throw new ApiFailure(404, "RESOURCE_DOES_NOT_EXIST", "no such deployment");
        await this.advance(app, found);
        return ok(found);
      }
    }
    throw new ApiFailure(404, "ENDPOINT_NOT_FOUND", `No API found for '${method} ${path}'`);
  }

  /** The machine that an app runs on is gone at once; it is started on another one. */
  async lose(name: string): Promise<void> {
    const app = this.apps.get(name) as StandInApp;
    if (app.active === undefined) throw new Error(`${name} isn't deployed`);
    await this.end(app.run, app, 0);
    await this.run(app, app.active.source_code_path);
  }

  /** As the platform does with what has ended by itself: nothing. */
  async crash(name: string): Promise<void> {
    const app = this.apps.get(name) as StandInApp;
    await this.end(app.run, app);
    app.app = { state: "CRASHED", message: "App crashed unexpectedly." };
  }

  async close(): Promise<void> {
    for (const app of this.apps.values()) {
      await this.end(app.run, app);
      app.front.closeAllConnections();
      app.front.close();
    }
  }

  private async create(body: Values): Promise<Reply> {
    const name = String(body.name);
    if (!/^[a-z0-9-]{2,30}$/.test(name))
      throw new ApiFailure(400, "INVALID_PARAMETER_VALUE", `Invalid app name ${name}`);
    if (this.apps.has(name))
      throw new ApiFailure(409, "RESOURCE_ALREADY_EXISTS", `An app with the same name already exists: ${name}`);
    const app: StandInApp = {
      ...{ name, resources: [], deployments: [], run: null, log: "", kills: 0 },
      compute: { state: "STARTING", message: "App compute is starting." },
      app: { state: "UNAVAILABLE", message: "App has not been deployed yet." },
      front: createServer((request, response) => {
        const token = (request.headers.authorization ?? "").replace(/^Bearer /, "");
        if (!this.isOAuth(token)) return void response.writeHead(302, { location: "/.auth/login" }).end();
        if (!request.url?.startsWith("/api/")) return void response.writeHead(302, { location: "/.auth/login" }).end();
        if (app.run === null) return void response.writeHead(502).end("App Not Available");
        const inner = plainRequest({
          port: app.run.port,
          host: "127.0.0.1",
          path: request.url,
          method: request.method,
        });
        inner.on("error", () => response.writeHead(502).end("App Not Available"));
        inner.on("response", (answer) => {
          response.writeHead(answer.statusCode ?? 502, answer.headers);
          answer.pipe(response);
        });
        inner.end();
      }),
    };
    this.settle(app, body);
    await new Promise<void>((done) => app.front.listen(0, "127.0.0.1", done));
    this.apps.set(name, app);
    return ok(this.describe(app));
  }

  private settle(app: StandInApp, body: Values): void {
    const resources = body.resources as StandInApp["resources"] | undefined;
    for (const { secret } of resources ?? []) {
      if (secret === undefined || this.scopes.get(secret.scope)?.has(secret.key)) continue;
      throw new ApiFailure(400, "INVALID_PARAMETER_VALUE", `Secret ${secret.scope}/${secret.key} does not exist.`);
    }
    if (resources !== undefined) app.resources = resources;
    if (body.description !== undefined) app.description = String(body.description);
    if (body.compute_size !== undefined) app.compute_size = String(body.compute_size);
  }

  private list(query: URLSearchParams): Reply {
    const all = [...this.apps.values()];
    const at = Number(query.get("page_token") ?? 0);
    const next = at + 1 < all.length ? { next_page_token: String(at + 1) } : {};
    return ok({ apps: all.slice(at, at + 1).map((app) => this.describe(app)), ...next });
  }

  /** As it is, and then a step further. */
  private look(app: StandInApp): object {
    const told = this.describe(app);
    if (app.compute.state === "DELETING") {
      app.front.closeAllConnections();
      app.front.close();
      this.apps.delete(app.name);
    }
    if (app.compute.state === "STARTING") {
      app.compute = { state: "ACTIVE", message: "App compute is running." };
      if (app.active !== undefined) app.pending = { ...app.active, status: { state: "IN_PROGRESS", message: "" } };
    } else if (app.pending !== undefined && !app.deployments.includes(app.pending)) {
      // What a start deploys by itself is done by the next look.
      const again = app.pending;
      app.pending = undefined;
      void this.run(app, again.source_code_path).catch(() => {});
    }
    return told;
  }

  private describe(app: StandInApp): object {
    const { name, description, compute_size, resources, compute, active, pending, front } = app;
    return {
      ...{ name, description, compute_size, resources, compute_status: compute, app_status: app.app },
      ...{ active_deployment: active, pending_deployment: pending },
      url: `http://127.0.0.1:${(front.address() as AddressInfo | null)?.port}`,
    };
  }

  private async deploy(app: StandInApp, path: string, mode: string): Promise<object> {
    if (app.compute.state !== "ACTIVE")
      throw new ApiFailure(400, "BAD_REQUEST", `App ${app.name} has no active compute.`);
    if (app.pending !== undefined) {
      throw new ApiFailure(
        400,
        "BAD_REQUEST",
        `Cannot deploy app ${app.name} as there is an active deployment in progress.`,
      );
    }
    const made = {
      deployment_id: randomUUID(),
      source_code_path: path,
      mode,
      status: { state: "IN_PROGRESS", message: "" },
    };
    app.deployments.push(made);
    app.pending = made;
    return made;
  }

  private async advance(app: StandInApp, deployment: Deployment): Promise<void> {
    if (app.pending !== deployment) return;
    app.pending = undefined;
    try {
      if (this.failNext !== null) throw new Error(this.failNext);
      await this.run(app, deployment.source_code_path);
      deployment.status = { state: "SUCCEEDED", message: "App started successfully" };
      app.active = deployment;
    } catch (error) {
      deployment.status = { state: "FAILED", message: (error as Error).message };
    } finally {
      this.failNext = null;
    }
  }

  private async run(app: StandInApp, path: string): Promise<void> {
    const files = [...this.files].filter(([name]) => name.startsWith(`${path}/`));
    const place = join(this.folder, "apps", app.name, randomUUID());
    mkdirSync(place, { recursive: true });
    for (const [name, content] of files) {
      writeFileSync(join(place, name.slice(path.length + 1)), content);
    }
    const read = (name: string) => this.files.get(`${path}/${name}`)?.toString("utf8") ?? "";
    const { dependencies = {} } = JSON.parse(read("package.json")) as { dependencies?: Record<string, string> };
    for (const [name, where] of Object.entries(dependencies)) {
      const archive = this.files.get(where.replace(/^file:\./, path));
      if (archive === undefined) throw new Error(`npm error: ${name} can't be installed from ${where}`);
      await install(place, name, archive);
    }
    const { command, env = [] } = parse(read("app.yaml")) as {
      command: string[];
      env?: { name: string; value?: string; valueFrom?: string }[];
    };
    const variables = env.map(({ name, value, valueFrom }) => {
      const secret = app.resources.find((each) => each.name === valueFrom)?.secret;
      const found = value ?? (secret && this.scopes.get(secret.scope)?.get(secret.key));
      if (found === undefined) throw new Error(`${name}: there is no resource ${valueFrom}`);
      return [name, found];
    });
    const former = app.run;
    if (!this.isOverlapping) await this.end(former, app);
    const port = await freePort();
    const [program, ...args] = command;
    const child = spawn(program === "node" ? process.execPath : program, args, {
      cwd: place,
      // All of it ends with its machine.
      detached: true,
      env: {
        ...{ PATH: process.env.PATH, TMPDIR: place, DATABRICKS_HOST: this.host(), DATABRICKS_APP_NAME: app.name },
        ...{
          DATABRICKS_APP_PORT: String(port),
          DATABRICKS_CLIENT_ID: "its-own",
          DATABRICKS_CLIENT_SECRET: "its-own",
        },
        ...(this.trusted === null ? {} : { NODE_EXTRA_CA_CERTS: this.trusted }),
        ...Object.fromEntries(variables),
      },
      stdio: ["ignore", "pipe", "pipe"],
    });
    for (const stream of [child.stdout, child.stderr]) stream.on("data", (chunk) => (app.log += chunk));
    const run = { child, place, port };
    app.run = run;
    app.app = { state: "RUNNING", message: "App is running" };
    child.on("exit", () => {
      if (app.run !== run) return;
      app.run = null;
      app.app = { state: "CRASHED", message: "App crashed unexpectedly." };
    });
    if (this.isOverlapping) await this.end(former, app);
  }

  /** With all that it has started, and its disk. @param graceMs 0: without a word */
  private async end(run: Run | null, app: StandInApp, graceMs = stopMs): Promise<void> {
    if (run === null) return;
    const { child, place } = run;
    if (app.run === run) app.run = null;
    if (child.exitCode === null && child.signalCode === null) {
      const gone = new Promise((done) => child.once("exit", done));
      if (graceMs > 0) child.kill("SIGTERM");
      const kill = setTimeout(() => {
        if (graceMs > 0) app.kills++;
        child.kill("SIGKILL");
      }, graceMs);
      await gone;
      clearTimeout(kill);
    }
    killGroup(child.pid);
    rmSync(place, { recursive: true, force: true, maxRetries: 10 });
  }

  private workspace(what: string, query: URLSearchParams, body: Values): Reply {
    const path = String(body.path ?? query.get("path"));
    const below = () => [...this.files.keys()].filter((each) => each === path || each.startsWith(`${path}/`));
    const absent = () => new ApiFailure(404, "RESOURCE_DOES_NOT_EXIST", `Path (${path}) doesn't exist.`);
    switch (what) {
      case "POST mkdirs":
        return ok({});
      case "POST import":
        if (this.files.has(path) && body.overwrite !== true) {
          throw new ApiFailure(400, "RESOURCE_ALREADY_EXISTS", `Path (${path}) already exists.`);
        }
        {
          const bytes = Buffer.from(String(body.content), "base64");
          if (bytes.length > fileBytesMax) {
            const said = `File size imported is (${bytes.length} bytes), exceeded max size (${fileBytesMax} bytes)`;
            throw new ApiFailure(400, "MAX_NOTEBOOK_SIZE_EXCEEDED", said);
          }
          this.files.set(path, bytes);
        }
        return ok({});
      case "GET export": {
        const found = this.files.get(path);
        if (found === undefined) throw absent();
        return ok({ content: found.toString("base64"), file_type: "file" });
      }
      case "GET get-status":
        if (below().length === 0) throw absent();
        return ok({ path, object_type: "DIRECTORY" });
      case "GET list": {
        if (below().length === 0) throw absent();
        const names = new Set(below().map((each) => each.slice(path.length + 1).split("/")[0]));
        const objects = [...names].map((name) => ({
          path: `${path}/${name}`,
          object_type: this.kindOf(`${path}/${name}`),
        }));
        return ok({ objects });
      }
      case "POST delete":
        if (below().length === 0) throw absent();
        for (const each of below()) this.files.delete(each);
        return ok({});
    }
    throw new ApiFailure(404, "ENDPOINT_NOT_FOUND", what);
  }

  private readonly kindOf = (path: string) => (this.files.has(path) ? "FILE" : "DIRECTORY");

  private secrets(what: string, query: URLSearchParams, body: Values): Reply {
    const name = String(body.scope ?? query.get("scope"));
    const scope = this.scopes.get(name);
    if (what === "POST scopes/create") {
      if (scope !== undefined) throw new ApiFailure(400, "RESOURCE_ALREADY_EXISTS", `Scope ${name} already exists!`);
      this.scopes.set(name, new Map());
      return ok({});
    }
    if (scope === undefined) throw new ApiFailure(404, "RESOURCE_DOES_NOT_EXIST", `Scope ${name} does not exist!`);
    switch (what) {
      case "POST put":
        scope.set(String(body.key), String(body.string_value));
        return ok({});
      case "GET list":
        return ok({ secrets: [...scope.keys()].map((key) => ({ key, last_updated_timestamp: 1 })) });
      case "POST scopes/delete":
        this.scopes.delete(name);
        return ok({});
    }
    throw new ApiFailure(404, "ENDPOINT_NOT_FOUND", what);
  }
}

const ok = (body: object): Reply => ({ status: 200, body });

/** With all that it has started. */
export function killGroup(pid: number | undefined): void {
  try {
    if (pid !== undefined) process.kill(-pid, "SIGKILL");
  } catch {
    // Nobody is left.
  }
}

export function tryJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw new ApiFailure(400, "MALFORMED_REQUEST", "Could not parse request object");
  }
}

/** Of a file beside package.json, with exactly what it depends on. */
async function install(place: string, name: string, archive: Buffer): Promise<void> {
  const reader = extract();
  reader.end(gunzipSync(archive));
  let manifest: { dependencies: Record<string, string> } | null = null;
  for await (const entry of reader) {
    const path = join(place, "node_modules", name, entry.header.name.replace(/^package\//, ""));
    mkdirSync(dirname(path), { recursive: true });
    const chunks: Buffer[] = [];
    for await (const chunk of entry) chunks.push(chunk as Buffer);
    writeFileSync(path, Buffer.concat(chunks));
    if (entry.header.name === "package/package.json") manifest = JSON.parse(Buffer.concat(chunks).toString());
  }
  for (const dependency of Object.keys(manifest?.dependencies ?? {})) {
    const link = join(place, "node_modules", dependency);
    mkdirSync(dirname(link), { recursive: true });
    symlinkSync(join(root, "node_modules", dependency), link);
  }
}
