// Contract: on a real engine that is reached by TLS or SSH (SLUICE_LANE_TLS_HOST, SLUICE_LANE_SSH_HOST) containers have
// volumes of the engine and nothing of this machine; configuration and secrets come in as files that their user alone can
// read, and are in no environment, label or inspect (invariant 6). Gateway and pipeline carry rows there, and are asked and
// handed over as anywhere. A delete leaves no container and no volume (invariant 5) but the destination, which goes by
// onDelete only; what isn't ours is never touched. Whoever else answers at the address gets nothing.
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { hostname, tmpdir } from "node:os";
import { join } from "node:path";
import Docker from "dockerode";
import type { Client } from "pg";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { framedText } from "../../provider/deploy/container-health";
import { labels } from "../../provider/deploy/container-spec";
import type { ProcessSpec } from "../../provider/deploy/deployment";
import { dockerDeployment } from "../../provider/deploy/docker";
import { defaultImage } from "../../provider/deploy/docker-image";
import { type DockerOptions, dockerOptionsSchema } from "../../provider/deploy/docker-options";
import { digestOf } from "../../provider/deploy/process-files";
import { deploymentOf } from "../../provider/deploy/target";
import { putFiles } from "../../provider/deploy/volume-archive";
import { gatewayLifecycle, gatewaySpec } from "../../provider/lifecycle/gateway";
import { checkGatewayInputs } from "../../provider/lifecycle/gateway-inputs";
import { ingestionPipelineLifecycle } from "../../provider/lifecycle/ingestion-pipeline";
import { checkIngestionPipelineInputs } from "../../provider/lifecycle/ingestion-pipeline-inputs";
import type { Properties } from "../../provider/lifecycle/lifecycle";
import { openFolderStore } from "../../runtime/staging/folder-store";
import { openLogIdentity } from "../../runtime/staging/staging-log";
import type { ApplierStatus, StatusDocument } from "../../runtime/status";
import { until } from "../support/conditions";
import { startPostgres, type TestPostgres } from "../support/postgres-server";

const docker = new Docker();
const { SLUICE_LANE_TLS_HOST: tlsHost, SLUICE_LANE_TLS_FOLDER: tlsFolder = "" } = process.env;
const { SLUICE_LANE_SSH_HOST: sshHost, SLUICE_LANE_SSH_FOLDER: sshFolder = "" } = process.env;

/** The engine's machine has these paths in containers only. */
const state = "/sluice-lane/state";
const lake = "/sluice-lane/lake";
const byTls = () => ({
  kind: "docker",
  host: tlsHost,
  tls: {
    ca: join(tlsFolder, "ca.pem"),
    cert: join(tlsFolder, "cert.pem"),
    key: readFileSync(join(tlsFolder, "key.pem"), "utf8"),
  },
});
const bySsh = () => ({
  kind: "docker",
  host: sshHost,
  ssh: { key: join(sshFolder, "client"), knownHosts: readFileSync(join(sshFolder, "known_hosts"), "utf8") },
});
const ways = [
  { way: "TLS", host: tlsHost, target: byTls },
  { way: "SSH", host: sshHost, target: bySsh },
];

let server: TestPostgres;
let admin: Client;
const gateway = gatewayLifecycle(deploymentOf);
const pipeline = ingestionPipelineLifecycle(deploymentOf);

beforeAll(async () => {
  server = await startPostgres();
  admin = await server.client();
  await admin.query("CREATE TABLE public.t (id int PRIMARY KEY); CREATE PUBLICATION lane FOR TABLE public.t");
});
afterAll(async () => {
  await admin?.end();
  await server?.stop();
  const containers = await docker.listContainers({ all: true, filters: { label: [labels.directory] } });
  const ours = containers.filter(({ Labels }) => Labels[labels.directory].startsWith("/sluice-lane/"));
  for (const { Id } of ours) await docker.getContainer(Id).remove({ force: true });
  const volumes = (await volumeNames()).filter((name) => name.startsWith("sluice-"));
  for (const name of volumes) await docker.getVolume(name).remove();
  // The tables' of the way that came first: they stay.
  expect([ours, volumes.filter((name) => name !== "sluice-sluice-lane-lake")]).toEqual([[], []]);
});

async function volumeNames(): Promise<string[]> {
  const { Volumes } = await docker.listVolumes({ filters: { label: [labels.directory] } });
  return (Volumes ?? []).map(({ Name }) => Name).sort();
}

async function containerNames(): Promise<string[]> {
  const containers = await docker.listContainers({ all: true, filters: { label: [labels.directory] } });
  return containers.flatMap(({ Names }) => Names.map((name) => name.slice(1))).sort();
}

/** As `docker exec` on the engine's machine. */
async function exec(container: string, ...command: string[]): Promise<string> {
  const run = await docker.getContainer(container).exec({ Cmd: command, AttachStdout: true, AttachStderr: true });
  const chunks: Buffer[] = [];
  for await (const chunk of await run.start({})) chunks.push(chunk as Buffer);
  return framedText(Buffer.concat(chunks));
}

const statusBy = async <T extends StatusDocument>(container: string): Promise<T> =>
  JSON.parse(await exec(container, "sluice", "status", "--json")) as T;

describe.each(ways)("an engine that is reached by $way", ({ way, host, target }) => {
  const id = `lane_${way.toLowerCase()}`;
  const deployment = () => ({ ...target(), network: "host", labels: { way } });

  function gatewayInputs(more: object = {}): Properties {
    const source = { ...server.source(), password: server.password };
    const names = { publicationName: "lane", slotName: id, slotIncarnation: "1" };
    const given = { source, ...names, stateDir: state, deployment: deployment(), ...more };
    const { inputs, failures } = checkGatewayInputs({}, given);
    expect(failures).toEqual([]);
    return { ...inputs, incarnation: "one" } as Properties;
  }

  function pipelineInputs(more: object = {}): Properties {
    const given = {
      ...{ deploymentId: id, stateDir: state, stagingPath: `${state}/${id}/staging`, stagingIncarnation: "one" },
      ...{ destination: { kind: "local", path: lake }, deployment: deployment(), ...more },
    };
    const { inputs, failures } = checkIngestionPipelineInputs(given);
    expect(failures).toEqual([]);
    return inputs;
  }

  it.skipIf(host === undefined)(
    "runs gateway and pipeline, is asked, hands over, and is left with nothing",
    async () => {
      await admin.query("SELECT pg_create_logical_replication_slot($1, 'pgoutput')", [id]);
      await admin.query("TRUNCATE public.t; INSERT INTO public.t SELECT generate_series(1, 1000)");
      const names = {
        gateway: `sluice-${id}-gateway`,
        applier: `sluice-${id}-applier`,
        staging: `sluice-${id}-staging`,
      };
      const wanted = gatewayInputs();
      expect(await deploymentOf(wanted.deployment).preflight(null)).toBeNull();
      const made = await gateway.create(wanted);
      expect(made.outs).toMatchObject({ imageDigest: expect.stringContaining("sha256:"), drift: [] });
      const applier = await pipeline.create(pipelineInputs());
      expect(existsSync(state)).toBe(false);
      expect(await containerNames()).toEqual([names.applier, names.gateway]);
      expect(await volumeNames()).toEqual(
        [names.applier, names.gateway, names.staging, "sluice-sluice-lane-lake"].sort(),
      );

      const inspected = await docker.getContainer(names.gateway).inspect();
      expect(JSON.stringify(inspected)).not.toContain(server.password);
      expect(inspected.Mounts.map(({ Type }) => Type)).toEqual(["volume", "volume"]);
      expect(inspected.Config).toMatchObject({ User: "65532:65532", Labels: { way } });
      expect(inspected.HostConfig).toMatchObject({ ReadonlyRootfs: true, CapDrop: ["ALL"], Privileged: false });
      const look = `const { uid, mode } = fs.statSync("${state}/${id}/gateway/password.secret"); console.log(uid, (mode & 0o777).toString(8), process.getuid())`;
      expect(await exec(names.gateway, "node", "-e", look)).toBe("65532 400 65532\n");

      const rows = async () => (await statusBy<ApplierStatus>(names.applier)).tables[0]?.rows;
      await until("all rows are there", async () => (await rows()) === 1000, 60_000);
      expect(await exec(names.applier, "sluice", "status")).toContain("public.t");
      expect(await exec(names.applier, "sluice", "runs")).toContain("public.t");
      expect((await gateway.read(id, made.outs)).props).toMatchObject({ drift: [], processState: "healthy" });
      expect((await pipeline.read(id, applier.outs)).props).toMatchObject({ drift: [], processState: "healthy" });

      // Another password is another file: the gateway reads it at its next connection.
      const same = await docker.getContainer(names.gateway).inspect();
      await gateway.update(id, made.outs, gatewayInputs());
      expect((await docker.getContainer(names.gateway).inspect()).Id).toBe(same.Id);

      const streams = async () =>
        (await admin.query<{ active: boolean }>("SELECT active FROM pg_replication_slots WHERE slot_name = $1", [id]))
          .rows[0].active;
      const watch = watched(streams);
      const replaced = gatewayInputs({ heartbeatMs: 5_000 });
      const updated = await gateway.update(id, made.outs, replaced);
      await until("the stream is handed over", streams);
      const quietMs = await watch();
      console.log(`by ${way} the stream was handed over in ${quietMs} ms`);
      expect(quietMs).toBeLessThan(5_000);
      expect((await docker.getContainer(names.gateway).inspect()).Id).not.toBe(same.Id);
      await admin.query("INSERT INTO public.t VALUES (1001)");
      await until("it goes on", async () => (await rows()) === 1001, 60_000);

      const broken = gatewayInputs({ heartbeatMs: 5_000, publicationName: "nobody_has_this", startTimeoutMs: 20_000 });
      await expect(gateway.update(id, updated.outs, broken)).rejects.toThrow(
        /last log lines[\s\S]*nobody_has_this[\s\S]*of before again/,
      );
      await until("the former streams again", streams, 60_000);

      await pipeline.delete(id, applier.outs);
      await gateway.delete(id, updated.outs);
      await gateway.delete(id, updated.outs);
      expect([await containerNames(), await volumeNames()]).toEqual([[], ["sluice-sluice-lane-lake"]]);
      await admin.query("SELECT pg_drop_replication_slot($1)", [id]);
    },
  );

  it.skipIf(host === undefined)("drops the tables by onDelete, with the volume that nothing is left in", async () => {
    const slot = `${id}_drop`;
    await admin.query("SELECT pg_create_logical_replication_slot($1, 'pgoutput')", [slot]);
    const { outs } = await gateway.create(gatewayInputs({ slotName: slot }));
    const more = {
      deploymentId: slot,
      stagingPath: `${state}/${slot}/staging`,
      destination: { kind: "local", path: "/sluice-lane/drop" },
    };
    const applier = await pipeline.create(pipelineInputs({ ...more, onDelete: "drop" }));
    const rows = async () => (await statusBy<ApplierStatus>(`sluice-${slot}-applier`)).tables[0]?.rows ?? 0;
    await until("rows are there", async () => (await rows()) > 0, 60_000);
    expect(await volumeNames()).toContain("sluice-sluice-lane-drop");
    // Asked about by nobody: it is gone from the program.
    await ingestionPipelineLifecycle(deploymentOf).delete(slot, applier.outs);
    await gateway.delete(slot, outs);
    expect(await containerNames()).toEqual([]);
    expect(await volumeNames()).toEqual((await volumeNames()).filter((name) => name === "sluice-sluice-lane-lake"));
    await admin.query("SELECT pg_drop_replication_slot($1)", [slot]);
  });
});

/** Resolves to the milliseconds in which it was false. */
function watched(condition: () => Promise<boolean>): () => Promise<number> {
  let quietMs = 0;
  let isDone = false;
  const watch = (async () => {
    for (let lastMs = Date.now(); !isDone; lastMs = Date.now()) {
      if (!(await condition())) quietMs += Date.now() - lastMs;
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  })();
  return async () => {
    isDone = true;
    await watch;
    return quietMs;
  };
}

describe("volumes", () => {
  const directory = `${state}/volumes/applier`;
  const options = (more: object = {}): DockerOptions =>
    dockerOptionsSchema.parse({ kind: "docker", storage: "volumes", ...more });
  const spec = (): ProcessSpec => ({
    directory,
    config: {
      ...{ version: 1, role: "applier", id: "volumes", statusPath: `${directory}/status.json` },
      ...{ stagingPath: `${state}/volumes/staging`, destination: { kind: "local", path: "/sluice-lane/volumes" } },
    },
    ...{ secretVariables: [], secretFiles: { "x.secret": "x" }, startTimeoutMs: 30_000, stopTimeoutMs: 5_000 },
  });
  const owner = { deploymentId: "volumes", incarnation: "1" };
  const of = (more: object = {}) => dockerDeployment(options(more));

  it("that aren't ours are refused, and left alone", async () => {
    const theirs = await docker.createVolume({ Name: "sluice-volumes-staging" });
    expect(await of().staging.inspect(spec().config.stagingPath, "volumes")).toEqual({ kind: "foreign" });
    expect(await of().preflight(spec())).toMatchObject({
      kind: "name-taken",
      message: expect.stringContaining("sluice-volumes-staging"),
    });
    await expect(of().staging.make(spec().config.stagingPath, owner)).rejects.toMatchObject({ kind: "staging" });
    expect(await of().staging.remove(spec().config.stagingPath, owner)).toBe(false);
    expect(await docker.getVolume(theirs.name).inspect()).toMatchObject({ Labels: null });
    await docker.getVolume(theirs.name).remove();
  });

  it("that are missing are told: the staging log's, and one that is given", async () => {
    await expect(of().apply(spec())).rejects.toMatchObject({
      message: expect.stringContaining("no volume sluice-volumes-staging"),
    });
    const error = await of({ destinationVolume: "nobody-has-this" }).preflight(spec());
    expect(error?.remedy).toContain("docker volume create nobody-has-this");
    await of().remove(directory, 1_000);
    expect(await containerNames()).toEqual([]);
  });

  it("that are given are used and stay; another user than theirs is refused", async () => {
    const given = await docker.createVolume({ Name: "lane-given" });
    // An image's folder gives it to the image's user, as `docker run` would.
    const maker = await docker.createContainer({
      Image: defaultImage,
      HostConfig: { Binds: ["lane-given:/var/lib/sluice/destination"] },
    });
    await maker.remove();
    const target = of({ destinationVolume: "lane-given" });
    await target.staging.make(spec().config.stagingPath, owner);
    await withLog(`sluice-volumes-staging`);
    await target.apply(spec());
    const { Mounts } = await docker.getContainer("sluice-volumes-applier").inspect();
    expect(Mounts.map(({ Name }) => Name).sort()).toEqual([
      "lane-given",
      "sluice-volumes-applier",
      "sluice-volumes-staging",
    ]);
    expect(await target.inspect(directory)).toMatchObject({ kind: "running", secrets: { "x.secret": digestOf("x") } });
    expect((await target.status(directory))?.state.kind).toBe("running");
    // Made anew it ends its reader first.
    await target.staging.make(spec().config.stagingPath, owner);
    expect(await target.inspect(directory)).toEqual({ kind: "absent" });
    const other = of({ destinationVolume: "lane-given", user: "1000:1000" });
    expect(await other.preflight(spec())).toMatchObject({
      kind: "config",
      remedy: expect.stringContaining("65532:65532"),
    });
    await target.remove(directory, 1_000);
    expect(await target.staging.remove(spec().config.stagingPath, { ...owner, incarnation: "2" })).toBe(false);
    expect(await target.staging.remove(spec().config.stagingPath, owner)).toBe(true);
    expect((await given.inspect()).Name).toBe("lane-given");
    await given.remove();
  });
});

describe("what a create has left that was killed", () => {
  const directory = `${state}/killed/gateway`;
  const target = () =>
    dockerDeployment(dockerOptionsSchema.parse({ kind: "docker", storage: "volumes", network: "host" }));

  it("is swept by the next, with its staging; one that lives isn't", async () => {
    await admin.query("SELECT pg_create_logical_replication_slot('killed', 'pgoutput')");
    const given = { source: server.source(), publicationName: "lane", slotName: "killed", slotIncarnation: "1" };
    const { inputs } = checkGatewayInputs(
      {},
      { ...given, stateDir: state, deployment: { kind: "docker", storage: "volumes", network: "host" } },
    );
    const wanted = gatewaySpec({ ...inputs, incarnation: "1" } as Properties);
    await target().staging.make(wanted.config.stagingPath, { deploymentId: "killed", incarnation: "1" });
    await target().apply(wanted, { tethered: true });
    await target().sweep(state, 5_000);
    expect(await target().inspect(directory)).toMatchObject({ kind: "running" });
    // As if this process had been killed: the pid's start is another's.
    const dead = JSON.stringify({ pid: process.pid, startTime: "0", host: hostname() });
    const files = [{ name: "container-tether.json", content: dead, mode: 0o400 }];
    await putFiles({ docker, address: "" }, "sluice-killed-gateway", directory, files, { uid: 65532, gid: 65532 });
    await target().sweep(`${state}/elsewhere`, 5_000);
    expect(await target().inspect(directory)).toMatchObject({ kind: "running" });
    await target().sweep(state, 5_000);
    expect(await containerNames()).toEqual([]);
    expect((await volumeNames()).filter((name) => name.includes("killed"))).toEqual([]);
    await until("the slot is free", async () => {
      const { rows } = await admin.query(
        "SELECT 1 FROM pg_replication_slots WHERE slot_name = 'killed' AND NOT active",
      );
      return rows.length === 1;
    });
    await admin.query("SELECT pg_drop_replication_slot('killed')");
  });
});

/** A staging log without commits, as a gateway begins one. */
async function withLog(volume: string): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), "sluice-lane-"));
  await openLogIdentity(await openFolderStore(folder));
  const { id } = await docker.createContainer({ Image: defaultImage, HostConfig: { Binds: [`${volume}:/staging`] } });
  const files = readdirSync(folder).map((name) => ({
    name,
    content: readFileSync(join(folder, name), "utf8"),
    mode: 0o600,
  }));
  await putFiles({ docker, address: "" }, id, "/staging", files, { uid: 65532, gid: 65532 });
  await docker.getContainer(id).remove();
  rmSync(folder, { recursive: true });
}

describe("whoever else answers", () => {
  it.skipIf(tlsHost === undefined)("with a certificate of another authority gets nothing", async () => {
    const target = { ...byTls(), tls: { ...byTls().tls, ca: undefined } };
    expect(await deploymentOf(target).preflight(null)).toMatchObject({ kind: "tls" });
  });

  it.skipIf(sshHost === undefined)("with another host key gets nothing", async () => {
    const folder = mkdtempSync(join(tmpdir(), "sluice-lane-"));
    const target = { ...bySsh(), ssh: { ...bySsh().ssh, knownHosts: join(folder, "known_hosts") } };
    expect(await deploymentOf(target).preflight(null)).toMatchObject({
      kind: "tls",
      message: expect.stringContaining("isn't known"),
    });
    rmSync(folder, { recursive: true });
  });
});
