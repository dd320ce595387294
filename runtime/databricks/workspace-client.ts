import { setTimeout as delay } from "node:timers/promises";
import { type ErrorKind, SluiceError } from "../errors";
import { version } from "../version";
import { ApiError, isTransientFailure, kindOf, parseErrorBody, parseRetryAfterMs } from "./api-error";
import { discardBody, type HttpBody, HttpConnections, type HttpRequest, type HttpResponse, readBody } from "./http";
import { type TokenSource, tokenSource } from "./token-source";
import type { Workspace } from "./workspace";

export interface ClientOptions {
  /** requests at a time; default 8: the Files API has refused more than 10 */
  connectionsMax?: number;
  /** nothing sent or received for so long ends an attempt; default 60,000 */
  idleMsMax?: number;
  /** how long a request is tried again after transient failures; default 60,000 */
  retryMsMax?: number;
  /** the first wait, which doubles; default 200 */
  retryBaseMs?: number;
  /** once aborted nothing is waited for */
  signal?: AbortSignal;
  random?: () => number;
  nowMs?: () => number;
}

export interface ApiRequest {
  method: HttpRequest["method"];
  /** from the host's root, encoded */
  path: string;
  query?: Record<string, string>;
  body?: HttpBody;
  accept?: string;
  /** a sentence's end: what is done to what, for errors */
  what: string;
  /** what helps against some errors; null leaves it to their kind */
  remedy?: (error: ApiError) => string | null;
}

const delayMsMax = 10_000;
const errorBytesMax = 64 * 1024;
const jsonBytesMax = 64 * 1024 * 1024;

/**
 * Requests to one workspace. Every request here bears being sent again, also when its answer was lost: lost connections,
 * time-outs, 429 (after what `Retry-After` says) and 5xx are tried again, with jitter, until `retryMsMax`.
 */
export class WorkspaceClient {
  readonly host: string;
  private readonly connections: HttpConnections;
  private readonly tokens: TokenSource;
  private readonly idleMsMax: number;

  constructor(
    readonly workspace: Workspace,
    private readonly options: ClientOptions = {},
  ) {
    const { connectionsMax = 8, idleMsMax = 60_000, nowMs } = options;
    this.host = workspace.host;
    this.idleMsMax = idleMsMax;
    this.connections = new HttpConnections(workspace.host, connectionsMax);
    this.tokens = tokenSource(workspace.identity, { host: this.host, connections: this.connections, idleMsMax, nowMs });
  }

  /** Who we are, as far as it is known without a request: a service principal's application id. */
  get principal(): string | null {
    return this.workspace.identity.kind === "oauth" ? this.workspace.identity.clientId : null;
  }

  /** @throws SluiceError by status and code; its cause is an `ApiError`, or the system's */
  async json<T>(request: ApiRequest, parse: (value: unknown) => T): Promise<T> {
    return this.run(request, async (response) => {
      const text = (await readBody(response, jsonBytesMax)).toString("utf8");
      try {
        return parse(JSON.parse(text));
      } catch (cause) {
        throw new SluiceError("protocol", `Databricks: ${this.host} answers ${request.what} with something else`, {
          remedy: "See that host is a workspace's address, and that no proxy answers in its place.",
          cause,
        });
      }
    });
  }

  /** For its effect. */
  async done(request: ApiRequest): Promise<void> {
    await this.run(request, discardBody);
  }

  /** @param read takes the answer's content; it is called again, from the beginning, after a lost connection */
  async run<T>(request: ApiRequest, read: (response: HttpResponse) => Promise<T>): Promise<T> {
    const { retryMsMax = 60_000, retryBaseMs = 200, signal, random = Math.random } = this.options;
    const startedMs = performance.now();
    let isRenewed = false;
    for (let attempt = 1; ; attempt++) {
      try {
        return await this.attempt(request, read);
      } catch (error) {
        // A token may have been withdrawn, or be of before the clock was set.
        if (error instanceof ApiError && error.statusCode === 401 && !isRenewed) {
          isRenewed = true;
          continue;
        }
        const backoffMs = Math.min(retryBaseMs * 2 ** Math.min(attempt - 1, 20), delayMsMax) * (0.5 + random() / 2);
        const askedMs = error instanceof ApiError ? (error.retryAfterMs ?? 0) : 0;
        const delayMs = askedMs > 0 ? askedMs + backoffMs / 4 : backoffMs;
        const isOver = performance.now() - startedMs + delayMs > retryMsMax;
        if (!isTransientFailure(error) || isOver || signal?.aborted === true) throw this.failed(request, error);
        await delay(delayMs, undefined, { signal }).catch(() => {});
      }
    }
  }

  private async attempt<T>(request: ApiRequest, read: (response: HttpResponse) => Promise<T>): Promise<T> {
    const { method, path, query = {}, body, accept = "application/json" } = request;
    const url = new URL(path, this.host);
    for (const [name, value] of Object.entries(query)) url.searchParams.set(name, value);
    const token = await this.tokens.token();
    const response = await this.connections.send({
      method,
      url,
      headers: { authorization: `Bearer ${token}`, accept, "user-agent": `sluice/${version}` },
      body,
      idleMsMax: this.idleMsMax,
    });
    try {
      if (response.status >= 200 && response.status < 300) return await read(response);
      const text = (await readBody(response, errorBytesMax)).toString("utf8");
      if (response.status === 401) this.tokens.refuse(token);
      const retryAfterMs = parseRetryAfterMs(response.headers["retry-after"], Date.now());
      throw new ApiError(response.status, parseErrorBody(response.status, text), retryAfterMs);
    } finally {
      // One that wasn't read to its end would hold its connection.
      if (!response.stream.readableEnded) response.stream.destroy();
    }
  }

  private failed(request: ApiRequest, error: unknown): SluiceError {
    if (error instanceof SluiceError) return error;
    const kind = kindOf(error);
    const reason = error instanceof Error ? error.message : String(error);
    const message = `Databricks: ${this.host} doesn't ${request.what}: ${reason}`;
    const own = error instanceof ApiError ? (request.remedy?.(error) ?? null) : null;
    return new SluiceError(kind, message, { remedy: own ?? this.remedyOf(kind), cause: error });
  }

  private remedyOf(kind: ErrorKind): string {
    switch (kind) {
      case "authentication":
        return `The token of ${this.workspace.origin} is refused: give one that holds, of a principal of ${this.host}.`;
      case "unreachable":
      case "timeout":
        return `If it lasts, check that ${this.host} is the workspace's address and is reached from this machine (DNS, firewall, the workspace's IP access list).`;
      case "tls":
        return `See who answers for ${this.host}; the authority of a proxy that decrypts is given by NODE_EXTRA_CA_CERTS.`;
      case "permission":
        return `Let an administrator of ${this.host} give ${this.principal ?? "the principal of this token"} what the message names.`;
      case "missing-object":
      case "conflict":
        return "See whether what the message names was removed or made by somebody else meanwhile.";
      default:
        return `See that ${this.host} is a workspace's address, and that no proxy answers in its place.`;
    }
  }

  close(): void {
    this.connections.close();
  }
}
