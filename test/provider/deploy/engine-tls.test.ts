// Contract: an engine over the network is spoken to only by TLS that both sides' certificates hold for; whoever else answers
// at its address gets no request (invariant 6), and the failure tells which certificate it was, by its code. The server here
// is a real one over loopback; test/lanes/containers.lane.ts has an engine's own.
import { createServer as createPlain, type Server } from "node:http";
import { createServer, type ServerOptions } from "node:https";
import type { AddressInfo } from "node:net";
import { afterEach, describe, expect, it } from "vitest";
import { ask, openEngine } from "../../../provider/deploy/docker-engine";
import { makeCertificate } from "../../support/certificates";

const authority = makeCertificate({ subject: "ours", isAuthority: true });
const stranger = makeCertificate({ subject: "stranger", isAuthority: true });
const served = makeCertificate({ subject: "engine", issuer: authority, names: ["localhost"] });
const client = makeCertificate({ subject: "client", issuer: authority });
const otherClient = makeCertificate({ subject: "client", issuer: stranger });

let server: Server;
let requests: string[];
afterEach(() => server.close());

async function serve(options: ServerOptions | null): Promise<number> {
  requests = [];
  const answer = (request: { url?: string }, response: { end(text: string): void }) => {
    requests.push(request.url ?? "");
    response.end("OK");
  };
  server = options === null ? createPlain(answer) : (createServer(options, answer) as unknown as Server);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return (server.address() as AddressInfo).port;
}

const verified = (certificate = served): ServerOptions => ({
  ...{ key: certificate.key, cert: certificate.certificate },
  ...{ ca: authority.certificate, requestCert: true, rejectUnauthorized: true },
});

async function ping(port: number, tls: object, host = "localhost"): Promise<string> {
  const engine = openEngine({ host: `tcp://${host}:${port}`, tls });
  return String(await ask(engine, "looking", () => engine.docker.ping()));
}

const own = { ca: authority.certificate, cert: client.certificate, key: client.key };

describe("an engine over TLS", () => {
  it("answers where both sides' certificates hold", async () => {
    const port = await serve(verified());
    expect(await ping(port, own)).toBe("OK");
    expect(requests).toEqual(["/_ping"]);
  });

  it.each([
    [
      "of an authority that we don't know",
      (): ServerOptions => verified(),
      { ...own, ca: stranger.certificate },
      "localhost",
      /no trusted certificate/,
    ],
    ["without any authority", () => verified(), {}, "localhost", /no trusted certificate/],
    ["of another name", () => verified(), own, "127.0.0.1", /of another host/],
    [
      "that is over",
      () => verified(makeCertificate({ subject: "e", issuer: authority, names: ["localhost"], days: -1 })),
      own,
      "localhost",
      /no trusted/,
    ],
    [
      "that has no TLS at all",
      (): ServerOptions | null => null,
      own,
      "localhost",
      /no trusted certificate|no container engine/,
    ],
  ] as const)("gets no request from us: %s", async (_, options, tls, host, message) => {
    const port = await serve(options());
    const error = await ping(port, tls, host).then(
      () => null,
      (thrown: Error) => thrown,
    );
    expect(error).toMatchObject({ kind: "tls", message: expect.stringMatching(message) });
    expect(requests).toEqual([]);
  });

  it.each([
    ["none", {}],
    ["another authority's", { cert: otherClient.certificate, key: otherClient.key }],
  ])("tells that it refuses our certificate: %s", async (_, given) => {
    const port = await serve(verified());
    await expect(ping(port, { ca: authority.certificate, ...given })).rejects.toMatchObject({
      kind: expect.stringMatching(/^(tls|unreachable)$/),
    });
    expect(requests).toEqual([]);
  });

  it("tells that nobody listens", async () => {
    const port = await serve(null);
    await new Promise((resolve) => server.close(resolve));
    await expect(ping(port, own)).rejects.toMatchObject({
      kind: "unreachable",
      message: expect.stringContaining(`localhost:${port} (ECONNREFUSED)`),
    });
  });
});
