// Contract: an engine's address is the option's, else that of DOCKER_HOST, with its keys and certificates by path or as they
// are; nothing goes over a network in plain (invariant 6); an engine on another machine has volumes, not folders, and is
// another place: staging there is another.
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from "vitest";
import { dockerOptionsSchema, usesVolumes } from "../../../provider/deploy/docker-options";
import { resolveAddress } from "../../../provider/deploy/engine-address";
import { stagingPlaceOf, targetInputSchema } from "../../../provider/deploy/target";
import { compare } from "../../../provider/lifecycle/comparison";
import { gatewayEffects } from "../../../provider/lifecycle/gateway-inputs";
import { withoutSecretValue } from "../../../provider/lifecycle/secret-failure";
import { unknownValue } from "../../../provider/lifecycle/unknown-value";

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "sluice-keys-"));
  for (const name of ["ca", "cert", "key"]) writeFileSync(join(folder, `${name}.pem`), `the ${name}`);
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));
afterEach(() => vi.unstubAllEnvs());

const files = () => ({ DOCKER_CERT_PATH: folder });
const fromFiles = { ca: "the ca", cert: "the cert", key: "the key" };
const pem = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";

describe("the address", () => {
  it.each([
    ["nothing", {}, {}, { kind: "socket", path: null }],
    ["DOCKER_HOST", {}, { DOCKER_HOST: "unix:///run/e.sock" }, { kind: "socket", path: "/run/e.sock" }],
    [
      "a socket",
      { socketPath: "/run/x.sock" },
      { DOCKER_HOST: "tcp://db:2376" },
      { kind: "socket", path: "/run/x.sock" },
    ],
    ["a socket's address", { host: "unix:///run/x.sock" }, {}, { kind: "socket", path: "/run/x.sock" }],
    ["a loopback address in plain", { host: "tcp://127.0.0.1:2375" }, {}, { kind: "tcp", port: 2375, tls: null }],
    ["a loopback address of IPv6", { host: "tcp://[::1]" }, {}, { kind: "tcp", host: "::1", port: 2375, tls: null }],
  ])("is that of %s", (_, given, env, expected) => {
    expect(resolveAddress(given, env)).toMatchObject(expected);
  });

  it("has TLS by the options, by path or text, or by the environment's folder", () => {
    const host = "tcp://data1:2376";
    const tls = { ca: join(folder, "ca.pem"), cert: join(folder, "cert.pem"), key: pem };
    expect(resolveAddress({ host, tls }, {})).toEqual({
      kind: "tcp",
      host: "data1",
      port: 2376,
      tls: { ...fromFiles, key: pem },
    });
    expect(resolveAddress({ host: "tcp://data1" }, files())).toMatchObject({ port: 2376, tls: fromFiles });
    expect(resolveAddress({}, { ...files(), DOCKER_HOST: "data1:2377", DOCKER_TLS_VERIFY: "1" })).toMatchObject({
      port: 2377,
      tls: fromFiles,
    });
    expect(resolveAddress({ host: "tcp://127.0.0.1:2375" }, files())).toMatchObject({ tls: fromFiles });
  });

  it("without TLS is refused, and so are half of it and files that aren't there", () => {
    const host = "tcp://data1:2375";
    expect(() => resolveAddress({ host }, {})).toThrow(
      expect.objectContaining({ kind: "tls", remedy: expect.stringContaining("DOCKER_CERT_PATH") }),
    );
    expect(() => resolveAddress({ host: "tcp://127.0.0.1:2376" }, {})).toThrow(/no TLS/);
    expect(() => resolveAddress({ host, tls: { cert: pem } }, {})).toThrow(/only one of cert and key/);
    expect(() => resolveAddress({ host, tls: { ca: "/nowhere/ca.pem" } }, {})).toThrow(
      /tls\.ca: the file \/nowhere\/ca\.pem/,
    );
    expect(() => resolveAddress({}, { DOCKER_HOST: host, DOCKER_CERT_PATH: "/nowhere" })).toThrow(
      /DOCKER_CERT_PATH: the file \/nowhere\/ca\.pem/,
    );
    expect(() => resolveAddress({}, { DOCKER_HOST: "http://data1" })).toThrow(/DOCKER_HOST: .*no address/);
  });

  it("by SSH has a user, a socket's path, keys and known hosts", () => {
    const ssh = { key: pem, knownHosts: "data1 ssh-ed25519 AAAA" };
    const host = "ssh://ops@data1:2222/run/user/1000/docker.sock";
    const keys = {
      privateKeys: [pem],
      knownHosts: "data1 ssh-ed25519 AAAA",
      knownHostsPath: "deployment.ssh.knownHosts",
    };
    const socketPath = "/run/user/1000/docker.sock";
    expect(resolveAddress({ host, ssh }, {})).toEqual({
      kind: "ssh",
      host: "data1",
      port: 2222,
      user: "ops",
      socketPath,
      keys,
    });
    // Of a machine where nobody is known nobody becomes known.
    expect(resolveAddress({ host: "ssh://data1", ssh: { key: pem, knownHosts: "/nowhere" } }, {})).toMatchObject({
      ...{ port: 22, socketPath: null, keys: { knownHosts: "", knownHostsPath: "/nowhere" } },
    });
    vi.stubEnv("HOME", folder);
    expect(resolveAddress({ host: "ssh://data1" }, { SSH_AUTH_SOCK: "/run/agent" })).toMatchObject({
      keys: { agent: "/run/agent", privateKeys: [] },
    });
  });
});

describe("the options", () => {
  it.each([
    [{ host: "http://data1" }, /no address of a container engine/],
    [{ host: "ssh://ops:secret@data1" }, /has no password/],
    [{ host: "unix://run/x.sock" }, /absolute/],
    [{ host: "tcp://data1:2376?x=1" }, /ends with its path/],
    [{ host: "tcp://data1:2376", socketPath: "/run/x.sock" }, /one address/],
    [{ host: "tcp://data1:2376", storage: "folders" }, /the engine is on another/],
    [{ host: "tcp://data1:2376", ssh: {} }, /ssh is for/],
    [{ host: "ssh://data1", tls: {} }, /tls is for/],
    [{ tls: { ca: "/ca.pem" } }, /tls is for/],
    [{ destinationVolume: "lake" }, /with folders/],
    [{ storage: "volumes", destinationVolume: "../lake" }, /a volume's name/],
    [{ host: "ssh://data1", ssh: { key: "id_rsa" } }, /absolute path/],
  ])("%j are refused", (more, reason) => {
    const { error } = dockerOptionsSchema.safeParse({ kind: "docker", ...more });
    expect(error?.issues.map(({ message }) => message).join()).toMatch(reason);
  });

  it("without a storage have volumes exactly on another machine", () => {
    const of = (more: object) => usesVolumes(dockerOptionsSchema.parse({ kind: "docker", ...more }));
    expect([of({}), of({ socketPath: "/x" }), of({ host: "unix:///x" })]).toEqual([false, false, false]);
    expect([of({ storage: "volumes" }), of({ host: "tcp://a" }), of({ host: "ssh://a" })]).toEqual([true, true, true]);
  });

  it("keep another machine's DOCKER_HOST, so that a delete finds the engine", () => {
    vi.stubEnv("DOCKER_HOST", "ssh://ops@data1");
    expect(targetInputSchema.parse({ kind: "docker" })).toMatchObject({ host: "ssh://ops@data1" });
    expect(targetInputSchema.parse({ kind: "docker", socketPath: "/x" })).not.toHaveProperty("host");
    expect(targetInputSchema.parse(undefined)).toBeUndefined();
    vi.stubEnv("DOCKER_HOST", "unix:///run/x.sock");
    expect(targetInputSchema.parse({ kind: "docker" })).not.toHaveProperty("host");
  });

  it("name no property of a failure when a key is in them", () => {
    const failure = { property: "deployment", reason: "no" };
    const of = (key: string) =>
      withoutSecretValue(failure, { deployment: { kind: "docker", host: "tcp://a", tls: { key } } });
    expect(of(pem)).toEqual({ property: "", reason: "deployment: no" });
    expect(of("/etc/key.pem")).toEqual(failure);
    const cut = { property: "deployment.tls.key", reason: "no" };
    expect(withoutSecretValue(cut, { deployment: { tls: { key: "MIIEvQ" } } }).property).toBe("");
  });
});

describe("another deployment", () => {
  const docker = (more: object = {}) => ({ kind: "docker", pull: "missing", ...more });
  const replaces = (olds: unknown, news: unknown) =>
    compare(gatewayEffects, { deployment: olds }, { deployment: news }).replaces;

  it("of the same storage restarts the process, of another one has a staging of its own", () => {
    expect(replaces(undefined, docker())).toEqual([]);
    expect(replaces(docker(), docker({ socketPath: "/run/x.sock", cpus: 2 }))).toEqual([]);
    expect(replaces(undefined, docker({ host: "ssh://a" }))).toEqual(["deployment"]);
    expect(replaces(docker(), docker({ storage: "volumes" }))).toEqual(["deployment"]);
    expect(replaces(docker({ host: "ssh://a" }), docker({ host: "ssh://a", cpus: 2, ssh: { key: pem } }))).toEqual([]);
    expect(replaces(docker({ host: "ssh://a" }), docker({ host: "ssh://b" }))).toEqual(["deployment"]);
    expect(replaces(docker({ host: "ssh://a" }), docker({ host: unknownValue }))).toEqual(["deployment"]);
    expect(stagingPlaceOf(docker({ host: "ssh://a" }))).toBe("volumes of docker ssh://a");
  });
});
