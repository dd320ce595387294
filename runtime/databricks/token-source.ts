import { z } from "zod";
import { SluiceError } from "../errors";
import { ApiError, isTransientFailure, parseErrorBody, parseRetryAfterMs } from "./api-error";
import { type HttpConnections, readBody } from "./http";
import type { WorkspaceIdentity } from "./workspace";

/** What a request's Authorization header has; fresh for as long as it takes. */
export interface TokenSource {
  token(): Promise<string>;
  /** `token` was refused: the next one is another, where there can be one. */
  refuse(token: string): void;
}

export function tokenSource(
  identity: WorkspaceIdentity,
  options: { host: string; connections: HttpConnections; idleMsMax: number; nowMs?: () => number },
): TokenSource {
  return identity.kind === "token" ? new GivenToken(identity.readToken) : new OAuthToken(identity, options);
}

/** How often a file or profile is looked at for another token. */
const readAgainMs = 30_000;

class GivenToken implements TokenSource {
  private known: { token: string; readAtMs: number } | null = null;

  constructor(private readonly read: () => string) {}

  async token(): Promise<string> {
    const nowMs = performance.now();
    if (this.known === null || nowMs - this.known.readAtMs > readAgainMs) {
      this.known = { token: this.read(), readAtMs: nowMs };
    }
    return this.known.token;
  }

  refuse(): void {
    this.known = null;
  }
}

const answerSchema = z.object({ access_token: z.string().min(1), expires_in: z.coerce.number().min(0) });
const tokenPath = "/oidc/v1/token";
const bodyBytesMax = 1024 * 1024;
/** Azure refuses tokens that expire within 30 seconds. */
const marginMs = 40_000;
const earlyMsMax = 300_000;

/** OAuth of a service principal: RFC 6749, section 4.4, with its id and secret by HTTP basic authentication. */
class OAuthToken implements TokenSource {
  private known: { token: string; expiresAtMs: number; renewAtMs: number } | null = null;
  private asking: Promise<string> | null = null;
  private readonly nowMs: () => number;

  constructor(
    private readonly identity: Extract<WorkspaceIdentity, { kind: "oauth" }>,
    private readonly options: Parameters<typeof tokenSource>[1],
  ) {
    this.nowMs = options.nowMs ?? Date.now;
  }

  async token(): Promise<string> {
    const { known } = this;
    const nowMs = this.nowMs();
    if (known === null || nowMs >= known.expiresAtMs - marginMs) return this.renew();
    // Beside the requests: the token of now holds for a while yet.
    if (nowMs >= known.renewAtMs) this.renew().catch(() => {});
    return known.token;
  }

  refuse(token: string): void {
    if (this.known?.token === token) this.known = null;
  }

  private renew(): Promise<string> {
    this.asking ??= this.ask().finally(() => {
      this.asking = null;
    });
    return this.asking;
  }

  private async ask(): Promise<string> {
    const { host, connections, idleMsMax } = this.options;
    const { clientId, readSecret } = this.identity;
    const response = await connections.send({
      method: "POST",
      url: new URL(tokenPath, host),
      headers: { authorization: `Basic ${Buffer.from(`${clientId}:${readSecret()}`).toString("base64")}` },
      body: {
        kind: "bytes",
        bytes: Buffer.from("grant_type=client_credentials&scope=all-apis"),
        type: "application/x-www-form-urlencoded",
      },
      idleMsMax,
    });
    const text = (await readBody(response, bodyBytesMax)).toString("utf8");
    if (response.status !== 200) {
      const retryAfterMs = parseRetryAfterMs(response.headers["retry-after"], Date.now());
      const error = new ApiError(response.status, parseErrorBody(response.status, text), retryAfterMs);
      if (isTransientFailure(error)) throw error;
      throw new SluiceError("authentication", `Databricks: ${host} gives no token to ${clientId}: ${error.message}`, {
        remedy: `Give the secret of the service principal ${clientId} that holds now (Settings › Identity and access › Service principals › Secrets), and see that it is in this workspace.`,
        cause: error,
      });
    }
    const { access_token: token, expires_in: seconds } = parseAnswer(host, text);
    const nowMs = this.nowMs();
    const expiresAtMs = nowMs + seconds * 1_000;
    this.known = { token, expiresAtMs, renewAtMs: expiresAtMs - Math.min((seconds * 1_000) / 2, earlyMsMax) };
    return token;
  }
}

function parseAnswer(host: string, text: string): z.infer<typeof answerSchema> {
  try {
    return answerSchema.parse(JSON.parse(text));
  } catch {
    // Its text may have a token in it (invariant 6).
    throw new SluiceError("protocol", `Databricks: ${host}${tokenPath} answers with no token`, {
      remedy: "See that host is a workspace's address, and that no proxy answers in its place.",
    });
  }
}
