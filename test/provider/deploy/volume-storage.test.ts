// Contract: with an engine's volumes a process finds its configuration and secrets as files of its own user that nobody else
// can read, also those that are on the machine that runs Pulumi; they travel in archives only (invariant 6). Volumes are ours
// by their labels: any other is refused, and never touched. The engine here has the API's semantics in memory;
// test/lanes/remote-containers.lane.ts has a real one.
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { broughtFile, containerConfiguration, containerOptions, labels } from "../../../provider/deploy/container-spec";
import type { ContainerStorage } from "../../../provider/deploy/container-storage";
import type { ProcessSpec } from "../../../provider/deploy/deployment";
import { type Engine, openEngine } from "../../../provider/deploy/docker-engine";
import { type DockerOptions, dockerOptionsSchema } from "../../../provider/deploy/docker-options";
import { digestOf } from "../../../provider/deploy/process-files";
import { isEmptyFolder } from "../../../provider/deploy/volume-archive";
import { volumeStorage } from "../../../provider/deploy/volume-storage";
import { VolumeEngine } from "../../support/volume-engine";

const directory = "/state/orders/gateway";
const stagingPath = "/state/orders/staging";
const owner = { deploymentId: "orders", incarnation: "1" };
const user = { inside: { uid: 65532, gid: 65532 }, outside: { uid: 65532, gid: 65532 }, mapsUsers: false };

let folder: string;
let memory: VolumeEngine;
let engine: Engine;
let storage: ContainerStorage;

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), "sluice-volumes-"));
  memory = new VolumeEngine();
  await memory.listen(join(folder, "engine.sock"));
  engine = openEngine({ socketPath: join(folder, "engine.sock") });
  storage = volumeStorage(engine, options());
});
afterEach(() => {
  vi.unstubAllEnvs();
  vi.restoreAllMocks();
  memory.close();
  rmSync(folder, { recursive: true, force: true });
});

const options = (more: object = {}): DockerOptions =>
  dockerOptionsSchema.parse({ kind: "docker", storage: "volumes", ...more });

function gateway(): ProcessSpec {
  const source = {
    host: "db",
    database: "shop",
    user: "u",
    password: { env: "SHOP_PASSWORD" },
    sslRootCertFile: join(folder, "ca.pem"),
  };
  return {
    directory,
    config: {
      version: 1,
      role: "gateway",
      id: "orders",
      statusPath: `${directory}/status.json`,
      source,
      publication: "p",
      slot: "s",
      stagingPath,
    },
    ...{
      secretVariables: ["SHOP_PASSWORD"],
      secretFiles: { "key.secret": "the key" },
      startTimeoutMs: 10_000,
      stopTimeoutMs: 10_000,
    },
  };
}

function applier(): ProcessSpec {
  const destination = { kind: "local", path: "/data/lake" } as const;
  const own = "/state/orders/applier";
  return {
    directory: own,
    config: { version: 1, role: "applier", id: "orders", statusPath: `${own}/status.json`, stagingPath, destination },
    ...{ secretVariables: [], secretFiles: {}, startTimeoutMs: 10_000, stopTimeoutMs: 10_000 },
  };
}

/** As an apply makes it, without running it. */
async function made(spec: ProcessSpec, given = options()): Promise<string> {
  await storage.prepare(spec, "sha256:1", user);
  const wanted = containerOptions(spec, given, { imageId: "sha256:1", user: "65532:65532", mapsUsers: false });
  return (await engine.docker.createContainer({ ...wanted, name: `sluice-${spec.config.role}` })).id;
}

describe("a process with volumes", () => {
  beforeEach(() => {
    vi.stubEnv("SHOP_PASSWORD", "open sesame");
    writeFileSync(join(folder, "ca.pem"), "the authority");
  });

  it("finds configuration and secrets as its own files, that nobody else reads", async () => {
    const spec = gateway();
    await storage.staging.make(stagingPath, owner);
    const container = await made(spec);
    expect([...memory.volumes.keys()].sort()).toEqual(["sluice-orders-gateway", "sluice-orders-staging"]);
    expect(memory.usersOf("sluice-orders-gateway")).toEqual(["sluice-gateway"]);
    for (const { files } of memory.volumes.values())
      expect(files.get("")).toEqual({ content: null, mode: 0o700, uid: 65532 });

    const configuration = containerConfiguration(spec, options());
    const secrets = storage.secretsOf(spec);
    await storage.write(directory, container, { configuration, secrets }, user);
    const files = memory.volumes.get("sluice-orders-gateway")?.files;
    const brought = broughtFile(join(folder, "ca.pem"));
    const own = (content: string) => ({ content, mode: 0o400, uid: 65532 });
    expect(Object.fromEntries(files ?? [])).toMatchObject({
      "config.json": own(configuration),
      "env-SHOP_PASSWORD.secret": own("open sesame"),
      "key.secret": own("the key"),
      [brought]: own("the authority"),
    });
    const { source } = JSON.parse(configuration) as { source: object };
    expect(source).toMatchObject({
      password: { file: `${directory}/env-SHOP_PASSWORD.secret` },
      sslRootCertFile: `${directory}/${brought}`,
    });
    expect(JSON.stringify([...memory.containers.values()])).not.toMatch(/open sesame|the key|the authority/);
  });

  it("is read back: configuration, status, secrets by their digest, none that is over or open to others", async () => {
    await storage.staging.make(stagingPath, owner);
    const container = await made(gateway());
    const files = memory.volumes.get("sluice-orders-gateway")?.files;
    await storage.write(
      directory,
      container,
      { configuration: "{}\n", secrets: { "a.secret": "a", "b.secret": "b" } },
      user,
    );
    expect(await storage.read(directory, container)).toMatchObject({ configuration: "{}\n", status: null });
    files?.set("status.json", { content: '{"pid": 7}', mode: 0o600, uid: 65532 });
    files?.set("open.secret", { content: "o", mode: 0o644, uid: 65532 });
    await storage.prune(directory, container, { "a.secret": "a" }, user);
    const secretDigests = { "a.secret": digestOf("a") };
    // What others can read is no secret any more, and is emptied as it isn't wanted.
    expect(await storage.read(directory, container)).toEqual({
      configuration: "{}\n",
      status: { pid: 7 },
      secretDigests,
    });
    files?.set("open.secret", { content: "o", mode: 0o644, uid: 65532 });
    expect((await storage.read(directory, container))?.secretDigests).toEqual({ ...secretDigests, "open.secret": "" });
    await storage.write(directory, container, { configuration: "{}\n", secrets: {} }, user);
    expect((await storage.read(directory, container))?.status).toBeNull();
    expect(await storage.read("/elsewhere", container)).toBeNull();
    expect(await storage.read(directory, "nobody")).toBeNull();
  });

  it("tells a file that isn't there, and a staging log that isn't", async () => {
    await expect(storage.prepare(applier(), "sha256:1", user)).rejects.toMatchObject({
      message: expect.stringContaining("no volume sluice-orders-staging"),
    });
    rmSync(join(folder, "ca.pem"));
    await expect(storage.check(gateway())).rejects.toMatchObject({
      kind: "config",
      message: expect.stringContaining("ca.pem"),
    });
  });

  it("keeps its user, as its files are that one's", async () => {
    await storage.staging.make(stagingPath, owner);
    await made(gateway());
    const other = volumeStorage(engine, options({ user: "1000:1000" }));
    await expect(other.check(gateway())).rejects.toMatchObject({ remedy: expect.stringContaining('"65532:65532"') });
    await expect(storage.check(gateway())).resolves.toBeUndefined();
  });

  it("leaves nothing of its own, and the tables", async () => {
    await storage.staging.make(stagingPath, owner);
    const container = await made(applier());
    expect([...memory.volumes.keys()].sort()).toEqual([
      "sluice-data-lake",
      "sluice-orders-applier",
      "sluice-orders-staging",
    ]);
    expect(await isEmptyFolder(engine, container, "/data/lake")).toBe(true);
    memory.volumes.get("sluice-data-lake")?.files.set("orders", { content: "rows", mode: 0o600, uid: 65532 });
    expect(await isEmptyFolder(engine, container, "/data/lake")).toBe(false);
    await expect(storage.remove("/state/orders/applier")).rejects.toMatchObject({
      ...{ kind: "conflict", remedy: expect.stringContaining("docker rm --force sluice-applier") },
    });
    memory.containers.clear();
    await storage.remove("/state/orders/applier");
    await storage.remove("/state/orders/applier");
    expect(await storage.staging.remove(stagingPath, owner)).toBe(true);
    expect([...memory.volumes.keys()]).toEqual(["sluice-data-lake"]);
  });
});

describe("staging in volumes", () => {
  const inspect = () => storage.staging.inspect(stagingPath, "orders");

  it("is known by its owner, and made anew for the same deployment only", async () => {
    vi.spyOn(console, "log").mockImplementation(() => {});
    expect(await inspect()).toEqual({ kind: "free" });
    await storage.staging.make(stagingPath, owner);
    expect(await inspect()).toEqual({ kind: "owned", owner });
    memory.volumes.get("sluice-orders-staging")?.files.set("log.json", { content: "{}", mode: 0o600, uid: 65532 });
    await expect(storage.staging.make(stagingPath, { ...owner, deploymentId: "other" })).rejects.toMatchObject({
      kind: "staging",
    });
    await made(applier());
    // The applier of what was there ends first.
    await storage.staging.make(stagingPath, { ...owner, incarnation: "2" });
    expect(memory.usersOf("sluice-orders-staging")).toEqual([]);
    expect(memory.volumes.get("sluice-orders-staging")?.files.size).toBe(0);
    expect(await storage.staging.remove(stagingPath, owner)).toBe(false);
    expect(await inspect()).toEqual({ kind: "owned", owner: { ...owner, incarnation: "2" } });
  });

  it("of somebody else is left alone, and so are their other volumes", async () => {
    await engine.docker.createVolume({ Name: "sluice-orders-staging" });
    await engine.docker.createVolume({
      Name: "sluice-orders-gateway",
      Labels: { [labels.directory]: "/other/orders/gateway" },
    });
    expect(await inspect()).toEqual({ kind: "foreign" });
    await expect(storage.staging.make(stagingPath, owner)).rejects.toMatchObject({ kind: "staging" });
    expect(await storage.staging.remove(stagingPath, owner)).toBe(false);
    vi.stubEnv("SHOP_PASSWORD", "x");
    writeFileSync(join(folder, "ca.pem"), "x");
    await expect(storage.check(gateway())).rejects.toMatchObject({ kind: "name-taken" });
    await storage.remove(directory);
    expect([...memory.volumes.keys()].sort()).toEqual(["sluice-orders-gateway", "sluice-orders-staging"]);
  });
});
