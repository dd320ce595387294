// Contract: what a container is made of is a pure function of process and options: without privileges, with its folders and
// nothing else, secrets in files only (invariant 6). What an engine lacks or refuses is told at the preview, by its code or
// status and with the remedy. The engine here answers over a real socket from memory; test/lanes/containers.lane.ts has a
// real one.
import { chmodSync, mkdtempSync, rmSync } from "node:fs";
import { createServer, type Server } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { framedText } from "../../../provider/deploy/container-health";
import {
  containerConfiguration,
  containerName,
  containerOptions,
  exitText,
  filesRead,
  foldersWritten,
  labels,
  volumesOf,
} from "../../../provider/deploy/container-spec";
import type { ProcessSpec } from "../../../provider/deploy/deployment";
import { dockerDeployment } from "../../../provider/deploy/docker";
import { engineError, openEngine } from "../../../provider/deploy/docker-engine";
import { defaultImage } from "../../../provider/deploy/docker-image";
import { type DockerOptions, dockerOptionsSchema } from "../../../provider/deploy/docker-options";
import { deploymentOf, targetInputSchema } from "../../../provider/deploy/target";
import { compare } from "../../../provider/lifecycle/comparison";
import { gatewayEffects } from "../../../provider/lifecycle/gateway-inputs";
import { version } from "../../../runtime/version";

const options: DockerOptions = { kind: "docker", pull: "missing" };
const directory = "/state/orders/gateway";

function gateway(more: object = {}): ProcessSpec {
  const source = { host: "db", database: "shop", user: "u", password: { env: "SHOP_PASSWORD" }, ...more };
  return {
    directory,
    config: {
      version: 1,
      role: "gateway",
      id: "orders",
      statusPath: join(directory, "status.json"),
      source,
      publication: "p",
      slot: "s",
      stagingPath: "/state/orders/staging",
    },
    secretVariables: ["SHOP_PASSWORD"],
    secretFiles: {},
    startTimeoutMs: 10_000,
    stopTimeoutMs: 30_000,
  };
}

const withPort = (spec: ProcessSpec): ProcessSpec => ({ ...spec, config: { ...spec.config, http: { port: 9000 } } });
const place = { imageId: "sha256:1", user: "1000:1000", mapsUsers: false };

describe("a container", () => {
  it("has no privileges, its folders at their own paths, and nothing else of the machine", () => {
    const made = containerOptions(gateway(), options, place);
    expect(made).toMatchObject({ User: "1000:1000", Cmd: ["gateway"], StopTimeout: 30 });
    expect(made.HostConfig).toMatchObject({
      ...{ ReadonlyRootfs: true, CapDrop: ["ALL"], SecurityOpt: ["no-new-privileges:true"] },
      ...{ RestartPolicy: { Name: "unless-stopped" }, Init: true },
    });
    const mounts = made.HostConfig?.Mounts?.map(({ Source, Target, ReadOnly }) => [Source, Target, ReadOnly]);
    expect(mounts).toEqual([
      [directory, directory, false],
      ["/state/orders/staging", "/state/orders/staging", false],
    ]);
    expect(made.HostConfig).not.toHaveProperty("Memory");
    expect(made.Env).toEqual([`SLUICE_CONFIG=${directory}/config.json`]);
  });

  it("takes limits, network and labels from the options, but never our labels from anybody", () => {
    const limits = { memoryBytesMax: 2 ** 30, cpus: 1.5, network: "data", labels: { team: "a" } };
    const made = containerOptions(gateway(), { ...options, ...limits }, place);
    expect(made.HostConfig).toMatchObject({
      Memory: 2 ** 30,
      MemorySwap: 2 ** 30,
      NanoCpus: 1.5e9,
      NetworkMode: "data",
    });
    expect(made.Labels).toMatchObject({ team: "a", [labels.directory]: directory });
    const stolen = { kind: "docker", labels: { [labels.directory]: "/elsewhere" } };
    expect(dockerOptionsSchema.safeParse(stolen).success).toBe(false);
  });

  it("reads a variable's secret from a file, and other files where they are", () => {
    const spec = gateway({ sslRootCertFile: "/etc/ca.pem", sslKey: { file: `${directory}/key.secret` } });
    const config = JSON.parse(containerConfiguration(spec, options)) as { source: object };
    expect(config.source).toMatchObject({ password: { file: `${directory}/env-SHOP_PASSWORD.secret` } });
    expect(filesRead(spec)).toEqual(["/etc/ca.pem"]);
    expect(containerOptions(spec, options, place).HostConfig?.Mounts?.at(-1)).toMatchObject({
      ...{ Source: "/etc/ca.pem", Target: "/etc/ca.pem", ReadOnly: true },
    });
  });

  it("gives a warehouse's secrets to an applier in the same ways, and needs no folder for its tables", () => {
    const destination = {
      kind: "databricks" as const,
      mode: "warehouse" as const,
      ...{ host: "https://adb-1.azuredatabricks.net", warehouseId: "w", token: { env: "SHOP_TOKEN" } },
      ...{ catalog: "main", schema: "lake", configFile: "/etc/databrickscfg" },
    };
    const spec: ProcessSpec = {
      ...gateway(),
      config: {
        version: 1,
        role: "applier",
        ...{ id: "a", statusPath: join(directory, "status.json"), stagingPath: "/staging", destination },
      },
    };
    const config = JSON.parse(containerConfiguration(spec, options)) as { destination: object };
    expect(config.destination).toMatchObject({ token: { file: `${directory}/env-SHOP_TOKEN.secret` } });
    expect(filesRead(spec)).toEqual(["/etc/databrickscfg"]);
    expect(foldersWritten(spec)).toEqual([directory, "/staging"]);
    expect(volumesOf(spec, options).map(({ path }) => path)).toEqual([directory, "/staging"]);
  });

  it("publishes a given port on loopback, unless it has the machine's network", () => {
    const bridged = containerOptions(withPort(gateway()), options, place);
    expect(bridged.HostConfig?.PortBindings).toEqual({ "9000/tcp": [{ HostIp: "127.0.0.1", HostPort: "9000" }] });
    expect(containerConfiguration(withPort(gateway()), options)).toContain('"host": "0.0.0.0"');
    const host = { ...options, network: "host" };
    expect(containerOptions(withPort(gateway()), host, place).HostConfig).not.toHaveProperty("PortBindings");
    expect(containerConfiguration(withPort(gateway()), host)).not.toContain("0.0.0.0");
  });

  it("is another one exactly when something of it differs", () => {
    const digest = (spec: ProcessSpec, more: Partial<DockerOptions> = {}, imageId = "sha256:1") =>
      containerOptions(spec, { ...options, ...more }, { ...place, imageId }).Labels?.[labels.specification];
    expect(digest(gateway())).toBe(digest(gateway()));
    const others = [
      digest(gateway({ port: 5433 })),
      digest(gateway(), { cpus: 2 }),
      digest(gateway(), { network: "host" }),
      digest(gateway(), {}, "sha256:2"),
    ];
    expect(new Set([digest(gateway()), ...others]).size).toBe(5);
  });

  it("has a name of its deployment and role", () => expect(containerName(directory)).toBe("sluice-orders-gateway"));

  it.each([
    [exitText(1, false, undefined), "exit 1"],
    [exitText(137, true, 1000), "exit 137 (it needed more than its limit of 1000 bytes)"],
    [exitText(137, false, undefined), "exit 137 (killed: out of the machine's memory, or by somebody)"],
  ])("%s", (text, expected) => expect(text).toBe(expected));

  it("has output in frames", () => {
    const frame = (text: string) => Buffer.concat([Buffer.from([1, 0, 0, 0, 0, 0, 0, text.length]), Buffer.from(text)]);
    expect(framedText(Buffer.concat([frame("one\n"), frame("two")]))).toBe("one\ntwo");
    expect(framedText(Buffer.alloc(3))).toBe("");
  });
});

describe("the input", () => {
  it("is left out for local processes, so that stacks of before have no diff", () => {
    expect(targetInputSchema.parse(undefined)).toBeUndefined();
    expect(targetInputSchema.parse({ kind: "local" })).toBeUndefined();
    expect(targetInputSchema.parse({ kind: "docker" })).toEqual(options);
    expect(compare(gatewayEffects, {}, { deployment: targetInputSchema.parse({ kind: "local" }) }).changes).toBe(false);
  });

  it.each([
    { kind: "podman" },
    { kind: "docker", user: "me" },
    { kind: "docker", socketPath: "here" },
    { kind: "local", x: 1 },
  ])("%j is refused", (input) => expect(targetInputSchema.safeParse(input).success).toBe(false));

  it("without a kind is the local target", async () => {
    expect(await deploymentOf(undefined).preflight(null)).toBeNull();
  });
});

describe("the preflight", () => {
  let folder: string;
  let server: Server;
  const image = { Id: "sha256:9", Architecture: "amd64", Config: { Labels: { "com.pulumi-sluice.runtime": version } } };
  /** what the engine has, by path */
  let has: Record<string, unknown>;

  beforeEach(async () => {
    folder = mkdtempSync(join(tmpdir(), "sluice-engine-"));
    has = {
      "/_ping": "OK",
      "/info": { Architecture: "x86_64" },
      [`/images/${defaultImage}/json`]: image,
      "/networks/data": { Name: "data" },
    };
    server = createServer((request, response) => {
      const found = has[decodeURIComponent((request.url ?? "").split("?")[0])];
      response.writeHead(found === undefined ? 404 : 200, { "content-type": "application/json" });
      response.end(JSON.stringify(found ?? { message: "no such object" }));
    });
    await new Promise<void>((resolve) => server.listen(join(folder, "engine.sock"), resolve));
  });

  afterEach(() => {
    server.close();
    rmSync(folder, { recursive: true, force: true });
  });

  const look = (more: Partial<DockerOptions> = {}) =>
    dockerDeployment({ ...options, socketPath: join(folder, "engine.sock"), ...more }).preflight(gateway());

  it("finds nothing wrong", async () => {
    expect(await look()).toBeNull();
    expect(await look({ network: "data" })).toBeNull();
    expect(await look({ image: "registry.example/sluice:1" })).toBeNull();
  });

  it("tells that no engine answers", async () => {
    expect(await look({ socketPath: join(folder, "nothing.sock") })).toMatchObject({
      kind: "unreachable",
      message: expect.stringContaining("nothing.sock (ENOENT)"),
      remedy: expect.stringContaining("Start the daemon"),
    });
  });

  it.runIf(process.geteuid?.() === 0)("tells that this very user may not use it", async () => {
    chmodSync(join(folder, "engine.sock"), 0o700);
    chmodSync(folder, 0o755);
    process.seteuid?.(65534);
    try {
      expect(await look()).toMatchObject({ kind: "permission", message: expect.stringContaining("EACCES") });
    } finally {
      process.seteuid?.(0);
    }
  });

  it("tells that a user may not use it", () => {
    const denied = Object.assign(new Error("connect EACCES"), { code: "EACCES" });
    const error = engineError(denied, "looking", openEngine({ socketPath: "/run/x.sock" }));
    expect(error).toMatchObject({ kind: "permission", remedy: expect.stringContaining("group") });
  });

  it("tells a missing image, one of another version or architecture, and one that isn't ours", async () => {
    const path = `/images/${defaultImage}/json`;
    const labelled = (runtime: string | undefined) => ({
      ...image,
      Config: { Labels: { "com.pulumi-sluice.runtime": runtime } },
    });
    delete has[path];
    expect(await look()).toMatchObject({ kind: "missing-object", remedy: expect.stringContaining("npm run image") });
    has[path] = labelled("0.0.1");
    expect(await look()).toMatchObject({
      message: `the image ${defaultImage} has version 0.0.1, and this provider is ${version}`,
    });
    has[path] = labelled(undefined);
    expect(await look()).toMatchObject({ message: expect.stringContaining("isn't the runtime") });
    has[path] = { ...image, Architecture: "arm64" };
    expect(await look()).toMatchObject({ remedy: expect.stringContaining("--arch amd64") });
  });

  it("tells a port that another container has, not one of ours, which may be about to give it up", async () => {
    const port = (spec: ProcessSpec, more: Partial<DockerOptions> = {}) =>
      dockerDeployment({ ...options, socketPath: join(folder, "engine.sock"), ...more }).preflight(spec);
    const container = (own: object) => ({ Id: "1", Names: ["/web"], Labels: own, Ports: [{ PublicPort: 9000 }] });
    has["/networks/host"] = { Name: "host" };
    has["/containers/json"] = [container({})];
    expect(await port(withPort(gateway()))).toMatchObject({
      kind: "port-in-use",
      message: "port 9000 of the container engine's machine is taken by the container web",
    });
    expect(await port(gateway())).toBeNull();
    expect(await port(withPort(gateway()), { network: "host" })).toBeNull();
    has["/containers/json"] = [container({ [labels.directory]: "/state/other/gateway" })];
    expect(await port(withPort(gateway()))).toBeNull();
  });

  it("tells a missing network, and a container of somebody else", async () => {
    expect(await look({ network: "none" })).toMatchObject({
      remedy: expect.stringContaining("docker network create none"),
    });
    const foreign = { Id: "1", Config: { Labels: {} } };
    has["/containers/sluice-orders-gateway/json"] = foreign;
    expect(await look()).toMatchObject({ kind: "name-taken" });
    has["/containers/sluice-orders-gateway/json"] = {
      ...foreign,
      Config: { Labels: { [labels.directory]: directory } },
    };
    expect(await look()).toBeNull();
  });
});
