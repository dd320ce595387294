// Contract: an engine behind SSH is spoken to over one connection to a host whose key is known; whoever answers with another
// key sees neither a key of ours nor a request (invariant 6). What the other side refuses is told with its remedy. The server
// here speaks SSH (ssh2's); test/lanes/containers.lane.ts has OpenSSH's.
import { createServer, type Server as HttpServer } from "node:http";
import type { AddressInfo } from "node:net";
import ssh2, { type Connection, type Server } from "ssh2";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { ask, type Engine, openEngine } from "../../../provider/deploy/docker-engine";

const { generateKeyPairSync, parseKey } = ssh2.utils;

/** ssh2 writes one key of some hundreds a byte short, which nobody can read. */
function makeKeys(passphrase?: string): { private: string; public: string } {
  for (;;) {
    const keys =
      passphrase === undefined
        ? generateKeyPairSync("ed25519")
        : generateKeyPairSync("ed25519", { passphrase, cipher: "aes256-ctr", rounds: 1 });
    const isReadable = [keys.public, keys.private].every((key) => !(parseKey(key, passphrase) instanceof Error));
    if (isReadable) return keys;
  }
}

const hostKey = makeKeys();
const otherHostKey = makeKeys();
const ours = makeKeys();
const theirs = makeKeys();

let engine: HttpServer;
let server: Server;
let connections: Set<Connection>;
let port: number;
/** what the server saw */
let seen: { connections: number; authentications: number; sockets: string[]; requests: string[] };
let forwards: "yes" | "no" | "nothing";

beforeEach(async () => {
  seen = { connections: 0, authentications: 0, sockets: [], requests: [] };
  forwards = "yes";
  connections = new Set();
  engine = createServer((request, response) => {
    seen.requests.push(request.url ?? "");
    response.end("OK");
  });
  const allowed = parseKey(ours.public);
  if (allowed instanceof Error) throw allowed;
  server = new ssh2.Server({ hostKeys: [hostKey.private] }, (connection) => {
    seen.connections++;
    connections.add(connection);
    connection.on("error", () => {});
    connection.on("authentication", (context) => {
      seen.authentications++;
      const isOurs = context.method === "publickey" && context.key.data.equals(allowed.getPublicSSH());
      if (!isOurs) return context.reject(["publickey"]);
      if (context.signature === undefined) return context.accept();
      const isSigned = allowed.verify(context.blob as Buffer, context.signature, context.hashAlgo);
      return isSigned === true ? context.accept() : context.reject();
    });
    connection.on(
      "openssh.streamlocal" as never,
      (accept: () => unknown, reject: () => void, info: { socketPath: string }) => {
        seen.sockets.push(info.socketPath);
        if (forwards === "nothing") return reject();
        engine.emit("connection", accept());
      },
    );
    if (forwards === "no") connection.removeAllListeners("openssh.streamlocal");
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  port = (server.address() as AddressInfo).port;
});
/** With every connection. */
async function stop(): Promise<void> {
  const closed = new Promise<void>((resolve) => server.close(() => resolve()));
  for (const connection of connections) connection.end();
  await closed;
}

afterEach(async () => {
  await stop();
  engine.close();
});

const lineOf = (key: string) => `[127.0.0.1]:${port} ${key.split(" ").slice(0, 2).join(" ")}`;

const open = (knownHosts: string, key: string = ours.private, path = ""): Engine =>
  openEngine({ host: `ssh://ops@127.0.0.1:${port}${path}`, ssh: { key, knownHosts } });

const ping = async (one: Engine): Promise<string> => String(await ask(one, "looking", () => one.docker.ping()));

describe("an engine over SSH", () => {
  it("answers over one connection, at its usual socket or another", async () => {
    const one = open(lineOf(hostKey.public));
    expect(await Promise.all([ping(one), ping(one), ping(open(lineOf(hostKey.public)))])).toEqual(["OK", "OK", "OK"]);
    expect(seen).toMatchObject({ connections: 1, sockets: Array(3).fill("/var/run/docker.sock") });
    expect(await ping(open(lineOf(hostKey.public), ours.private, "/run/user/1000/docker.sock"))).toBe("OK");
    expect(seen.sockets.at(-1)).toBe("/run/user/1000/docker.sock");
  });

  it("connects anew after the connection was lost", async () => {
    const one = open(lineOf(hostKey.public));
    expect(await ping(one)).toBe("OK");
    await stop();
    await expect(ping(one)).rejects.toMatchObject({ kind: "unreachable" });
    await new Promise<void>((resolve) => server.listen(port, "127.0.0.1", resolve));
    expect(await ping(one)).toBe("OK");
  });

  it.each([
    ["isn't known", (): string => "elsewhere ssh-ed25519 AAAA", /isn't known \(deployment\.ssh\.knownHosts\)/],
    ["is another", () => lineOf(otherHostKey.public), /somebody may be in between/],
    ["is revoked", () => `@revoked ${lineOf(hostKey.public)}`, /is revoked/],
  ] as const)("whose host key %s gets nothing from us", async (_, knownHosts, message) => {
    await expect(ping(open(knownHosts()))).rejects.toMatchObject({
      kind: "tls",
      message: expect.stringMatching(message),
    });
    expect(seen).toMatchObject({ authentications: 0, sockets: [], requests: [] });
  });

  it("tells that our key is refused, and one that can't be used", async () => {
    await expect(ping(open(lineOf(hostKey.public), theirs.private))).rejects.toMatchObject({
      kind: "authentication",
      message: "127.0.0.1 refuses ops's keys",
    });
    const locked = makeKeys("secret").private;
    await expect(ping(open(lineOf(hostKey.public), locked))).rejects.toMatchObject({
      kind: "config",
      remedy: expect.stringContaining("ssh-add"),
    });
  });

  it("tells that the host forwards no sockets, or has no engine", async () => {
    forwards = "no";
    await expect(ping(open(lineOf(hostKey.public)))).rejects.toMatchObject({
      kind: "permission",
      remedy: expect.stringContaining("AllowStreamLocalForwarding"),
    });
    forwards = "nothing";
    await expect(ping(open(lineOf(hostKey.public), ours.private, "/other.sock"))).rejects.toMatchObject({
      message: expect.stringContaining("/other.sock on 127.0.0.1"),
    });
  });
});
