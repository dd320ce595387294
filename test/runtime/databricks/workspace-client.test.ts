// Contract: a request is tried again exactly when it may succeed later, by status and code, after what the answer asks; a
// token is renewed before it ends and after it was refused; whatever an answer's body is, the error is one of ours.
import { afterEach, describe, expect, it } from "vitest";
import {
  ApiError,
  isTransientFailure,
  kindOf,
  parseErrorBody,
  parseRetryAfterMs,
} from "../../../runtime/databricks/api-error";
import { FilesApi } from "../../../runtime/databricks/files-api";
import { type ClientOptions, WorkspaceClient } from "../../../runtime/databricks/workspace-client";
import { SluiceError } from "../../../runtime/errors";
import { faultOf, retryAfterMsOf } from "../../../runtime/staging/storage-fault";
import { DatabricksWorkspace, type WorkspaceOptions } from "../../support/databricks-workspace";
import fc from "../../support/property";
import { workspaceClient } from "../../support/volume-staging";

let workspace: DatabricksWorkspace | undefined;
const path = "/Volumes/main/sluice/staging/a.json";

async function open(options: WorkspaceOptions = {}): Promise<DatabricksWorkspace> {
  workspace = await DatabricksWorkspace.open(options);
  await workspace.files.makeVolume("main.sluice.staging");
  return workspace;
}

function servicePrincipal(of: DatabricksWorkspace, options: ClientOptions = {}) {
  const { clientId, clientSecret } = of.addServicePrincipal();
  of.catalog.grantVolume("main.sluice.staging", clientId);
  const identity = { kind: "oauth" as const, clientId, readSecret: () => clientSecret };
  return { clientSecret, client: new WorkspaceClient({ host: of.host, identity, origin: "the test" }, options) };
}

afterEach(() => workspace?.close());

const body = (errorCode: string | null) => ({ errorCode, reason: null, message: "" });

describe("errors", () => {
  it.each([
    [429, "REQUEST_LIMIT_EXCEEDED", true, "unreachable"],
    [400, "REQUEST_LIMIT_EXCEEDED", true, "unreachable"],
    [409, "ABORTED", true, "unreachable"],
    [500, "INTERNAL_ERROR", true, "unreachable"],
    [503, null, true, "unreachable"],
    [504, null, true, "unreachable"],
    [400, "INVALID_PARAMETER_VALUE", false, "protocol"],
    [401, null, false, "authentication"],
    [403, "PERMISSION_DENIED", false, "permission"],
    [404, "NOT_FOUND", false, "missing-object"],
    [409, "ALREADY_EXISTS", false, "conflict"],
    [501, null, false, "unsupported"],
    [302, null, false, "protocol"],
  ] as const)("%d %s: again %s, %s", (status, code, isTransient, kind) => {
    const error = new ApiError(status, body(code));
    expect(isTransientFailure(error)).toBe(isTransient);
    expect(kindOf(error)).toBe(kind);
    const told = new SluiceError("staging", "", { remedy: "", cause: error });
    expect(faultOf(told)).toBe(isTransient ? "transient" : "permanent");
  });

  it.each([
    ['{"error_code":"NOT_FOUND","message":"gone","details":[{"reason":"R"}]}', "NOT_FOUND", "R", "gone"],
    ['{"error":"invalid_client","error_description":"no"}', "invalid_client", null, "no"],
    ['{"scimType":"invalidPath","detail":"null","status":"500"}', "invalidPath", null, "HTTP 500"],
    ["MALFORMED_REQUEST: it\nis", "MALFORMED_REQUEST", null, "it\nis"],
    ["<html><head><title>502 Bad Gateway</title></head></html>", null, null, "502 Bad Gateway"],
    ["[1]", null, null, "HTTP 500"],
    ["", null, null, "HTTP 500"],
  ])("%s", (text, errorCode, reason, message) => {
    expect(parseErrorBody(500, text)).toEqual({ errorCode, reason, message });
  });

  it("come of any body", () => {
    const shapes = fc.oneof(
      fc.string(),
      fc.json(),
      fc.record({ error_code: fc.anything(), message: fc.anything(), details: fc.anything() }).map((value) => {
        try {
          return JSON.stringify(value) ?? "";
        } catch {
          return "";
        }
      }),
    );
    fc.assert(
      fc.property(fc.integer({ min: 300, max: 599 }), shapes, (status, text) => {
        const parsed = parseErrorBody(status, text);
        expect(typeof parsed.message).toBe("string");
        expect(parsed.message.length).toBeLessThanOrEqual(501);
        expect(kindOf(new ApiError(status, parsed))).toBeTruthy();
      }),
    );
  });

  it("say how long to wait, in seconds or as a date", () => {
    expect(parseRetryAfterMs("2", 0)).toBe(2_000);
    expect(parseRetryAfterMs("Thu, 01 Jan 1970 00:00:05 GMT", 1_000)).toBe(4_000);
    expect(parseRetryAfterMs("soon", 0)).toBeNull();
    expect(parseRetryAfterMs(undefined, 0)).toBeNull();
  });
});

describe("requests", () => {
  it("wait for what the answer asks, and tell it when that is too long", async () => {
    const of = await open({ decide: () => ({ kind: "status", status: 429, retryAfterS: 30 }) });
    const files = new FilesApi(workspaceClient(of, of.addToken("a"), { retryMsMax: 1_000 }));
    const failure: unknown = await files.read(path).catch((error: unknown) => error);
    expect(retryAfterMsOf(failure)).toBe(30_000);
    expect(of.requests).toHaveLength(1);
    let refusals = 1;
    of.options.decide = () => (refusals-- > 0 ? { kind: "status", status: 429, retryAfterS: 1 } : null);
    of.catalog.grantVolume("main.sluice.staging", "a");
    const startedMs = performance.now();
    const patient = new FilesApi(workspaceClient(of, of.addToken("a")));
    expect(await patient.read(path)).toBeNull();
    expect(performance.now() - startedMs).toBeGreaterThanOrEqual(1_000);
  });

  it("are sent once where no other attempt helps", async () => {
    const of = await open({ decide: () => ({ kind: "status", status: 400, errorCode: "INVALID_PARAMETER_VALUE" }) });
    await expect(new FilesApi(workspaceClient(of, of.addToken("a"))).read(path)).rejects.toMatchObject({
      kind: "protocol",
    });
    expect(of.requests).toHaveLength(1);
  });

  it("are so many at a time at most", async () => {
    const of = await open({ latencyMs: 20, requestsMax: 4 });
    of.catalog.grantVolume("main.sluice.staging", "a");
    const files = new FilesApi(workspaceClient(of, of.addToken("a"), { connectionsMax: 4 }));
    await Promise.all(Array.from({ length: 40 }, (_, index) => files.write(`${path}${index}`, "x")));
    expect(of.peakRequests).toBe(4);
  });

  it("say which workspace can't be reached", async () => {
    const of = await open();
    const { host } = of;
    await of.close();
    workspace = undefined;
    const files = new FilesApi(workspaceClient({ host }, "token", { retryMsMax: 100 }));
    const failure = await files.read(path).catch((error: unknown) => error as SluiceError);
    expect(failure).toMatchObject({ kind: "unreachable", remedy: expect.stringContaining(host) as string });
  });
});

describe("OAuth of a service principal", () => {
  it("asks for one token, however many requests wait for it", async () => {
    const of = await open();
    const files = new FilesApi(servicePrincipal(of).client);
    await Promise.all(Array.from({ length: 10 }, () => files.read(path)));
    expect(of.tokensGiven).toBe(1);
  });

  it("renews a token before it ends, beside the requests", async () => {
    const of = await open();
    let nowMs = Date.now();
    const { client } = servicePrincipal(of, { nowMs: () => nowMs });
    const files = new FilesApi(client);
    await files.read(path);
    nowMs += 3_600_000 - 299_000;
    await files.read(path);
    await files.read(path);
    expect(of.tokensGiven).toBe(2);
    nowMs += 3_600_000;
    await files.read(path);
    expect(of.tokensGiven).toBe(3);
  });

  it("asks for another when one is refused", async () => {
    const of = await open();
    const files = new FilesApi(servicePrincipal(of).client);
    await files.write(path, "x");
    of.revokeTokens();
    expect((await files.read(path))?.toString()).toBe("x");
    expect(of.tokensGiven).toBe(2);
  });

  it("gets over a token endpoint that is away, and tells a secret that is wrong, without it (invariant 6)", async () => {
    const of = await open();
    const { client, clientSecret } = servicePrincipal(of, { retryBaseMs: 2 });
    let away = 2;
    of.options.decide = ({ path: asked }) =>
      asked === "/oidc/v1/token" && away-- > 0 ? { kind: "status", status: 503, body: "<html></html>" } : null;
    expect(await new FilesApi(client).read(path)).toBeNull();
    const identity = { kind: "oauth" as const, clientId: "nobody", readSecret: () => clientSecret };
    const other = new WorkspaceClient({ host: of.host, identity, origin: "the test" });
    const failure = await new FilesApi(other).read(path).catch((error: unknown) => error as SluiceError);
    expect(failure).toMatchObject({ kind: "authentication" });
    expect((failure as SluiceError).describe()).toContain("nobody");
    expect((failure as SluiceError).describe()).not.toContain(clientSecret);
  });

  it("tells a personal token that is refused", async () => {
    const of = await open();
    const failure = await new FilesApi(workspaceClient(of, "dapi-old")).read(path).catch((error: unknown) => error);
    expect(failure).toMatchObject({ kind: "authentication", remedy: expect.stringContaining("the test") as string });
    expect((failure as SluiceError).describe()).not.toContain("dapi-old");
  });
});
