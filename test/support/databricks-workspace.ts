import { randomUUID } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { DatabricksApps } from "./databricks-apps";
import { DatabricksCatalog, type Principal } from "./databricks-catalog";
import { DatabricksFiles } from "./databricks-files";
import { DatabricksJobs } from "./databricks-jobs";
import { DatabricksPipelines } from "./databricks-pipelines";
import { ApiFailure, type Reply } from "./databricks-reply";

/** What befalls one request. */
export type RequestFault =
  /** answered so, and nothing is done; `body` is what a proxy or load balancer would send instead of JSON */
  | { kind: "status"; status: number; errorCode?: string; retryAfterS?: number; body?: string }
  /** the connection is lost before anything is done */
  | { kind: "lost-request" }
  /** it is done, then the connection is lost */
  | { kind: "lost-response" }
  /** the connection is lost, and later it is done nevertheless */
  | { kind: "late"; ms: number }
  | { kind: "slow"; ms: number }
  /** of a download: after so many bytes the connection is lost */
  | { kind: "cut"; bytes: number }
  /** no answer ever comes */
  | { kind: "silent" };

export interface ReceivedRequest {
  method: string;
  /** decoded, without the query */
  path: string;
  query: URLSearchParams;
}

export interface WorkspaceOptions {
  /** before every answer; default 0 */
  latencyMs?: number;
  decide?: (request: ReceivedRequest) => RequestFault | null;
  /** of OAuth tokens; default an hour */
  tokenLifeMs?: number;
  pageEntriesMax?: () => number;
  requiresDirectories?: boolean;
  /** requests at a time beyond which 429 is answered */
  requestsMax?: number;
}

const filesPath = /^\/api\/2\.0\/fs\/(files|directories)(\/.*)$/;

/**
 * A Databricks workspace on this machine's loopback interface: OAuth, the Files API over folders of this machine, Unity
 * Catalog's names and privileges, who somebody is, SQL warehouses' states, apps and jobs. With faults for any request.
 */
export class DatabricksWorkspace {
  readonly requests: ReceivedRequest[] = [];
  readonly warehouses = new Map<string, { name: string; state: string }>();
  /** tokens that hold, and of whom; until when */
  private readonly tokens = new Map<string, { principal: Principal; expiresAtMs: number }>();
  readonly pipelines = new DatabricksPipelines();
  private readonly secrets = new Map<string, { secret: string; principal: Principal }>();
  /** apps, with workspace files and secrets */
  readonly apps: DatabricksApps;
  readonly jobs: DatabricksJobs;
  private running = 0;
  /** most requests that were worked on at a time */
  peakRequests = 0;
  tokensGiven = 0;
  options: WorkspaceOptions;

  private constructor(
    readonly folder: string,
    readonly files: DatabricksFiles,
    readonly catalog: DatabricksCatalog,
    private readonly server: Server,
    options: WorkspaceOptions,
  ) {
    this.options = options;
    this.apps = new DatabricksApps(
      folder,
      () => this.host,
      (token) => token.startsWith("oauth-") && (this.tokens.get(token)?.expiresAtMs ?? 0) > Date.now(),
    );
    this.jobs = new DatabricksJobs(folder, this.apps);
  }

  static async open(options: WorkspaceOptions = {}): Promise<DatabricksWorkspace> {
    const folder = mkdtempSync(join(tmpdir(), "sluice-workspace-"));
    const files: DatabricksFiles = new DatabricksFiles(folder, {
      pageEntriesMax: () => workspace.options.pageEntriesMax?.() ?? 1_000,
      requiresDirectories: options.requiresDirectories,
    });
    const catalog = new DatabricksCatalog((volume) => files.hasVolume(volume));
    const server = createServer({ keepAliveTimeout: 30_000 }, (request, response) => {
      workspace.serve(request, response).catch(() => response.destroy());
    });
    const workspace: DatabricksWorkspace = new DatabricksWorkspace(folder, files, catalog, server, options);
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    return workspace;
  }

  get host(): string {
    return `http://127.0.0.1:${(this.server.address() as AddressInfo).port}`;
  }

  /** A service principal that may log in by OAuth. */
  addServicePrincipal(groups: string[] = []): { clientId: string; clientSecret: string } {
    const [clientId, clientSecret] = [randomUUID(), randomUUID()];
    this.secrets.set(clientId, { secret: clientSecret, principal: { name: clientId, groups } });
    return { clientId, clientSecret };
  }

  /** A personal access token of a user. */
  addToken(name: string, lifeMs = Number.POSITIVE_INFINITY): string {
    const token = `dapi${randomUUID()}`;
    this.tokens.set(token, { principal: { name }, expiresAtMs: Date.now() + lifeMs });
    return token;
  }

  /** Every token that was given holds no more. */
  revokeTokens(): void {
    this.tokens.clear();
  }

  /** A volume with a token of somebody who may use it. */
  async addVolume(volume: string, name = "ingest@example.com"): Promise<string> {
    await this.files.makeVolume(volume);
    this.catalog.grantVolume(volume, name);
    return this.addToken(name);
  }

  async close(): Promise<void> {
    await this.apps.close();
    await this.jobs.close();
    this.server.closeAllConnections();
    await new Promise((resolve) => this.server.close(resolve));
    rmSync(this.folder, { recursive: true, force: true });
  }

  private async serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = new URL(request.url ?? "/", this.host);
    const received = {
      method: request.method ?? "GET",
      path: decodeURIComponent(url.pathname),
      query: url.searchParams,
    };
    this.requests.push(received);
    this.running++;
    this.peakRequests = Math.max(this.peakRequests, this.running);
    try {
      await this.disturbed(received, request, response);
    } finally {
      this.running--;
    }
  }

  private async disturbed(
    received: ReceivedRequest,
    request: IncomingMessage,
    response: ServerResponse,
  ): Promise<void> {
    const fault = this.options.decide?.(received) ?? null;
    const match = received.method === "PUT" ? filesPath.exec(received.path) : null;
    const content = match?.[1] === "files" ? await this.files.receive(request) : await readAll(request);
    if (content === null) return;
    const act = () => this.answer(received, request, content);
    await delay(this.options.latencyMs ?? 0);
    switch (fault?.kind) {
      case "silent":
        return;
      case "lost-request":
        request.socket.destroy();
        return;
      case "late":
        request.socket.destroy();
        await delay(fault.ms);
        await act();
        return;
      case "lost-response":
        await act();
        request.socket.destroy();
        return;
      case "status":
        return send(response, refusal(fault));
      case "slow":
        await delay(fault.ms);
    }
    if (this.running > (this.options.requestsMax ?? Number.POSITIVE_INFINITY)) {
      return send(response, refusal({ status: 429, errorCode: "REQUEST_LIMIT_EXCEEDED", retryAfterS: 1 }));
    }
    const reply = await act();
    if (reply !== "download") return send(response, reply);
    const path = filesPath.exec(received.path)?.[2] as string;
    try {
      await this.files.download(path, response, fault?.kind === "cut" ? fault.bytes : null);
    } catch (error) {
      send(response, failureOf(error));
    }
  }

  private async answer(
    received: ReceivedRequest,
    request: IncomingMessage,
    content: string,
  ): Promise<Reply | "download"> {
    try {
      if (received.path === "/oidc/v1/token") return this.giveToken(request, content);
      return await this.route(received, this.authenticate(request), content);
    } catch (error) {
      return failureOf(error);
    }
  }

  private giveToken(request: IncomingMessage, content: string): Reply {
    const basic = Buffer.from((request.headers.authorization ?? "").replace(/^Basic /, ""), "base64").toString();
    const [id, secret] = basic.split(":");
    const form = new URLSearchParams(content);
    const known = this.secrets.get(id);
    if (form.get("grant_type") !== "client_credentials" || form.get("scope") !== "all-apis") {
      return { status: 400, body: { error: "invalid_request", error_description: "grant_type or scope" } };
    }
    if (known === undefined || known.secret !== secret) {
      return { status: 401, body: { error: "invalid_client", error_description: "Client authentication failed" } };
    }
    const lifeMs = this.options.tokenLifeMs ?? 3_600_000;
    const token = `oauth-${randomUUID()}`;
    this.tokens.set(token, { principal: known.principal, expiresAtMs: Date.now() + lifeMs });
    this.tokensGiven++;
    return {
      status: 200,
      body: { access_token: token, token_type: "Bearer", scope: "all-apis", expires_in: Math.floor(lifeMs / 1_000) },
    };
  }

  private authenticate(request: IncomingMessage): Principal {
    const known = this.tokens.get((request.headers.authorization ?? "").replace(/^Bearer /, ""));
    if (known !== undefined && Date.now() < known.expiresAtMs) return known.principal;
    throw new ApiFailure(401, "UNAUTHENTICATED", "Credential was not sent or was of an unsupported type for this API.");
  }

  private async route(received: ReceivedRequest, principal: Principal, content: string): Promise<Reply | "download"> {
    const { method, path, query } = received;
    const file = filesPath.exec(path);
    if (file !== null) return this.routeFiles(method, file[1], file[2], query, principal, content);
    const object = /^\/api\/2\.1\/unity-catalog\/(catalogs|schemas|volumes|connections)\/(.+)$/.exec(path);
    if (object !== null) return this.catalog.describe(object[1], object[2]);
    const permissions =
      /^\/api\/2\.1\/unity-catalog\/effective-permissions\/(catalog|schema|volume|connection)\/(.+)$/.exec(path);
    if (permissions !== null) return this.catalog.effective(permissions[2], query.get("principal"), query);
    if (path === "/api/2.0/preview/scim/v2/Me") {
      const groups = (principal.groups ?? []).map((display) => ({ display }));
      return { status: 200, body: { id: "1", userName: principal.name, active: true, groups } };
    }
    const pipeline = /^\/api\/2\.0\/pipelines\/([^/]+)\/(events|updates)$/.exec(path);
    if (pipeline !== null) return this.pipelines.answer(method, pipeline[1], pipeline[2], query, content);
    const warehouse = /^\/api\/2\.0\/sql\/warehouses\/(.+)$/.exec(path);
    const found = warehouse === null ? undefined : this.warehouses.get(warehouse[1]);
    if (warehouse !== null && found !== undefined) return { status: 200, body: { id: warehouse[1], ...found } };
    const ofJobs = await this.jobs.answer(method, path, query, content);
    if (ofJobs !== null) return ofJobs;
    const ofApps = await this.apps.answer(method, path, query, content);
    if (ofApps !== null) return ofApps;
    throw new ApiFailure(404, "ENDPOINT_NOT_FOUND", `No API found for '${method} ${path}'`);
  }

  private async routeFiles(
    method: string,
    kind: string,
    path: string,
    query: URLSearchParams,
    principal: Principal,
    content: string,
  ): Promise<Reply | "download"> {
    const [, root, catalog, schema, name] = path.split("/");
    const volume = `${catalog}.${schema}.${name}`;
    if (root !== "Volumes" || !this.files.hasVolume(volume)) {
      throw new ApiFailure(404, "NOT_FOUND", `Volume '${volume}' does not exist.`);
    }
    const isReading = method === "GET" || method === "HEAD";
    this.catalog.assertFiles(principal, volume, isReading ? "READ_VOLUME" : "WRITE_VOLUME");
    switch (`${method} ${kind}`) {
      case "GET files":
      case "HEAD files":
        return "download";
      case "PUT files":
        return this.files.upload(path, query, content);
      case "DELETE files":
        return this.files.deleteFile(path);
      case "PUT directories":
        return this.files.makeDirectory(path);
      case "DELETE directories":
        return this.files.deleteDirectory(path);
      case "HEAD directories":
        return this.files.headDirectory(path);
      case "GET directories":
        return this.files.list(path, query);
      default:
        throw new ApiFailure(405, "BAD_REQUEST", method);
    }
  }
}

function failureOf(error: unknown): Reply {
  if (error instanceof ApiFailure) return error.reply();
  return { status: 500, body: { error_code: "INTERNAL_ERROR", message: String(error) } };
}

function refusal(fault: Omit<Extract<RequestFault, { kind: "status" }>, "kind">): Reply {
  const headers: Record<string, string> =
    fault.retryAfterS === undefined ? {} : { "retry-after": `${fault.retryAfterS}` };
  const body = fault.body ?? { error_code: fault.errorCode ?? "INTERNAL_ERROR", message: "injected" };
  return { status: fault.status, body, headers };
}

function send(response: ServerResponse, { status, body, headers }: Reply): void {
  const text = body === undefined ? "" : typeof body === "string" ? body : JSON.stringify(body);
  const type = typeof body === "string" ? "text/html" : "application/json";
  response.writeHead(status, { ...(text === "" ? {} : { "content-type": type }), ...headers });
  response.end(response.req.method === "HEAD" ? undefined : text);
}

async function readAll(request: IncomingMessage): Promise<string | null> {
  const chunks: Buffer[] = [];
  try {
    for await (const chunk of request as AsyncIterable<Buffer>) chunks.push(chunk);
  } catch {
    return null;
  }
  return Buffer.concat(chunks).toString();
}
