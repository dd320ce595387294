// Contract: check knows a folder that can't be written, a port that is taken and a staging folder that is another's,
// lets unknown values pass, and never takes what is ours for taken; diff replaces for another slot, publication,
// database or folder and updates for settings; create leaves nothing half-made; read reports what died; update puts the
// process back when its new settings don't work; delete removes process and staging, never a folder that isn't ours.
// Invariant 5: after delete no process of ours remains.
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { createServer, type Server } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { localDeployment } from "../../../provider/deploy/local";
import { processFiles, readJson } from "../../../provider/deploy/process-files";
import { sweepAbandoned } from "../../../provider/deploy/tether";
import { gatewayLifecycle, gatewaySpec } from "../../../provider/lifecycle/gateway";
import { checkGatewayInputs, diffGateway } from "../../../provider/lifecycle/gateway-inputs";
import type { Properties } from "../../../provider/lifecycle/lifecycle";
import { unknownValue } from "../../../provider/lifecycle/unknown-value";
import { isAlive, signalProcess } from "../../../runtime/process-identity";
import { supervisorStateSchema } from "../../../runtime/supervisor";
import { until } from "../../support/conditions";

const gateway = gatewayLifecycle(() =>
  localDeployment({ mainPath: join(process.cwd(), "dist/test/support/stub-runtime.js") }),
);
let folder: string;
let made: Properties[] = [];
let listener: Server | null = null;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "sluice-gateway-"));
});

afterEach(async () => {
  for (const props of made) await gateway.delete("", props);
  made = [];
  listener?.close();
  listener = null;
  rmSync(folder, { recursive: true, force: true });
});

function news(more: Properties = {}): Properties {
  return {
    source: { host: "db", database: "shop", user: "sluice", password: { env: "SLUICE_TEST_GATEWAY" } },
    publicationName: "pub",
    slotName: "slot_a",
    slotIncarnation: "1",
    deploymentId: "healthy",
    stateDir: join(folder, "state"),
    stopTimeoutMs: 3_000,
    ...more,
  };
}

async function checked(more: Properties = {}, olds: Properties = {}): Promise<Properties> {
  const { inputs, failures } = await gateway.check(olds, news(more));
  expect(failures).toEqual([]);
  return inputs;
}

async function created(more: Properties = {}): Promise<Properties> {
  const { outs } = await gateway.create(await checked(more));
  made.push(outs);
  return outs;
}

async function failuresOf(more: Properties, olds: Properties = {}) {
  return (await gateway.check(olds, news(more))).failures;
}

function childOf(props: Properties) {
  return readJson(join(gatewaySpec(props).directory, processFiles.supervisor), supervisorStateSchema)!.child!;
}

async function listen(): Promise<number> {
  const server = createServer();
  listener = server;
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return (server.address() as { port: number }).port;
}

describe("check", () => {
  it("fills in defaults, the staging's place and an incarnation that stays", async () => {
    const inputs = await checked({ deploymentId: undefined });
    expect(inputs).toMatchObject({
      deploymentId: "slot_a",
      stagingPath: join(folder, "state", "slot_a", "staging"),
      incarnation: expect.stringMatching(/^[0-9a-f]{8}$/),
      snapshot: { workers: 2 },
    });
    expect(await checked({ deploymentId: undefined }, inputs)).toEqual(inputs);
    expect((await checked({ deploymentId: undefined })).incarnation).not.toBe(inputs.incarnation);
  });

  it("lets unknown values pass", () => {
    const { inputs, failures } = checkGatewayInputs(
      {},
      news({ deploymentId: undefined, slotName: unknownValue, source: unknownValue, slotIncarnation: unknownValue }),
    );
    expect(failures).toEqual([]);
    expect(inputs.stagingPath).toBeUndefined();
  });

  it("refuses what has another shape, with the input's path", async () => {
    const failures = await failuresOf({
      source: { host: "db", database: "shop", user: "sluice", password: { value: "canary-77" } },
      stateDir: "relative",
      httpPort: 70_000,
      batch: { rowsMax: 0 },
      colour: "red",
    });
    expect(failures.map(({ property }) => property)).toEqual(
      expect.arrayContaining(["source.password", "stateDir", "httpPort", "batch.rowsMax", "colour"]),
    );
    expect(JSON.stringify(failures)).not.toContain("canary-77");
  });

  it("knows a folder that can't be written", async () => {
    writeFileSync(join(folder, "file"), "");
    const below = join(folder, "file", "deep");
    expect(await failuresOf({ stateDir: below })).toEqual([
      { property: "stateDir", reason: expect.stringMatching(/file is a file, not a folder[\s\S]*remedy: /) },
    ]);
    expect(await failuresOf({ stagingPath: below })).toMatchObject([{ property: "stagingPath" }]);
    expect(await failuresOf({ stateDir: below, preflight: "up" })).toEqual([]);
  });

  it("knows a port that is taken, unless by the gateway itself", async () => {
    const httpPort = await listen();
    expect(await failuresOf({ httpPort })).toMatchObject([
      { property: "httpPort", reason: expect.stringContaining("is taken") },
    ]);
    const olds = { ...(await checked()), httpPort };
    expect(await failuresOf({ httpPort, pollMs: 500 }, olds)).toEqual([]);
  });

  it("knows a staging folder that isn't empty and isn't ours", async () => {
    const stagingPath = join(folder, "precious");
    mkdirSync(stagingPath);
    expect(await failuresOf({ stagingPath })).toEqual([]);
    writeFileSync(join(stagingPath, "letter.txt"), "");
    expect(await failuresOf({ stagingPath })).toMatchObject([
      { property: "stagingPath", reason: expect.stringContaining("isn't empty") },
    ]);
  });
});

describe("diff", () => {
  const olds = () => ({ ...checkGatewayInputs({}, news()).inputs, statusPath: "x", drift: [] });
  const diff = (more: Properties, before: Properties = olds()) =>
    diffGateway(before, checkGatewayInputs(before, news(more)).inputs);

  it("is nothing for the same inputs", () => {
    expect(diff({})).toEqual({ changes: false, replaces: [], deleteBeforeReplace: false });
  });

  it.each<[Properties, string]>([
    [{ slotName: "slot_b" }, "slotName"],
    [{ slotIncarnation: "2" }, "slotIncarnation"],
    [{ slotIncarnation: unknownValue }, "slotIncarnation"],
    [{ publicationName: "other" }, "publicationName"],
    [{ stagingPath: "/elsewhere" }, "stagingPath"],
    [{ source: { host: "db", database: "other", user: "sluice" } }, "source"],
  ])("replaces for %j", (more, key) => {
    const result = diff(more);
    expect(result).toMatchObject({ changes: true, deleteBeforeReplace: true });
    expect(result.replaces).toContain(key);
  });

  it.each<[Properties]>([
    [{ batch: { rowsMax: 7 } }],
    [{ snapshot: { workers: 3 } }],
    [{ pollMs: 500 }],
    [{ httpPort: 9_999 }],
    [{ startTimeoutMs: 5_000 }],
    [{ source: { host: "db2", database: "shop", user: "sluice" } }],
  ])("updates for %j", (more) => {
    expect(diff(more)).toEqual({ changes: true, replaces: [], deleteBeforeReplace: false });
  });

  it("updates where read found drift", () => {
    expect(diff({}, { ...olds(), drift: ["the gateway isn't running"] })).toMatchObject({
      changes: true,
      replaces: [],
    });
  });
});

describe("create, read, update and delete", () => {
  it("go round", async () => {
    const outs = await created();
    expect(outs.statusPath).toBe(join(folder, "state", "healthy", "gateway", "status.json"));
    expect(await gateway.read("healthy", outs)).toMatchObject({
      id: "healthy",
      props: outs,
      inputs: { pollMs: 2_000 },
    });
    const child = childOf(outs);

    const later = await gateway.update("healthy", outs, await checked({ startTimeoutMs: 50_000 }, outs));
    expect(childOf(outs)).toEqual(child);
    const restarted = await gateway.update("healthy", later.outs, await checked({ pollMs: 500 }, later.outs));
    expect(childOf(outs)).not.toEqual(child);
    expect(gateway.diff("healthy", restarted.outs, await checked({ pollMs: 500 }, restarted.outs)).changes).toBe(false);

    await gateway.delete("healthy", restarted.outs);
    expect(isAlive(child)).toBe(false);
    expect(readdirSync(join(folder, "state"))).toEqual([]);
    await gateway.delete("healthy", restarted.outs);
  });

  it("a dead process is drift, and an update repairs it", async () => {
    const outs = await created();
    const spec = gatewaySpec(outs);
    const supervisor = readJson(join(spec.directory, processFiles.supervisor), supervisorStateSchema)!;
    for (const one of [supervisor, supervisor.child!]) signalProcess(one, "SIGKILL");
    const props = await until("it is dead", async () => {
      const { props: now } = await gateway.read("healthy", outs);
      return now !== undefined && (now.drift as string[]).length > 0 && now;
    });
    expect(props).toMatchObject({ drift: ["the gateway isn't running"], processState: "dead" });
    const repaired = await gateway.update("healthy", props, await checked({}, props));
    expect((await gateway.read("healthy", repaired.outs)).props?.drift).toEqual([]);
  });

  it("a configuration that was changed by hand is told by setting, and an update repairs it", async () => {
    const outs = await created();
    const path = join(gatewaySpec(outs).directory, processFiles.configuration);
    const written = JSON.parse(readFileSync(path, "utf8"));
    const byHand = {
      ...written,
      pollMs: 700,
      batch: { ...written.batch, rowsMax: 7 },
      source: { ...written.source, password: "canary-by-hand" },
    };
    writeFileSync(path, JSON.stringify(byHand));
    const broken = await gateway.read("healthy", outs);
    expect(broken.props?.drift).toEqual([
      expect.stringMatching(/changed by hand, or by another version of Sluice: .*source\.password/),
    ]);
    expect(JSON.stringify(broken)).not.toContain("canary-by-hand");

    writeFileSync(path, JSON.stringify({ ...byHand, source: written.source }));
    const { props, inputs } = await gateway.read("healthy", outs);
    expect(props).toMatchObject({
      processState: "healthy",
      pollMs: 700,
      batch: { rowsMax: 7 },
      drift: [expect.stringMatching(/: (pollMs, batch\.rowsMax|batch\.rowsMax, pollMs)$/)],
    });
    expect(inputs).toMatchObject({ pollMs: 700, batch: { rowsMax: 7 } });
    const news = await checked({}, inputs);
    expect(gateway.diff("healthy", props!, news)).toMatchObject({ changes: true, replaces: [] });
    const child = childOf(outs);
    const repaired = await gateway.update("healthy", props!, news);
    expect(childOf(outs)).not.toEqual(child);
    expect(readFileSync(path, "utf8")).toBe(`${JSON.stringify(written, null, 2)}\n`);
    expect(await gateway.read("healthy", repaired.outs)).toMatchObject({ props: { ...outs, changeCost: {} } });
  });

  it("another version of the runtime is told, and an update starts it anew", async () => {
    const outs = await created();
    const { statusPath } = gatewaySpec(outs).config;
    writeFileSync(statusPath, JSON.stringify({ ...JSON.parse(readFileSync(statusPath, "utf8")), version: "0.0.9" }));
    const { props } = await gateway.read("healthy", outs);
    expect(props).toMatchObject({
      runtimeVersion: "0.0.9",
      drift: [expect.stringMatching(/runs version 0\.0\.9 of Sluice, and this is \d/)],
    });
    const child = childOf(outs);
    const repaired = await gateway.update("healthy", props!, await checked({}, outs));
    expect(childOf(outs)).not.toEqual(child);
    expect(await gateway.read("healthy", repaired.outs)).toMatchObject({ props: outs });
  });

  it("a secret that is a value is a file for this user alone, whose loss is told and repaired without a restart", async () => {
    const source = { host: "db", database: "shop", user: "sluice", password: "canary-88" };
    const outs = await created({ source });
    const { directory, config } = gatewaySpec(outs);
    const path = join(directory, "password.secret");
    const look = async () => (await gateway.read("healthy", outs)).props?.drift;
    expect(config).toMatchObject({ source: { password: { file: path } } });
    expect(readFileSync(path, "utf8")).toBe("canary-88");
    expect(statSync(path).mode & 0o777).toBe(0o600);
    expect(await look()).toEqual([]);
    const child = childOf(outs);
    for (const damage of [
      () => rmSync(path),
      () => chmodSync(path, 0o644),
      () => writeFileSync(path, "another"),
      () => writeFileSync(join(directory, "old.secret"), "left over", { mode: 0o600 }),
    ]) {
      damage();
      expect(await look()).toEqual([expect.stringMatching(/^the gateway's secret file \w+\.secret is /)]);
      await gateway.update("healthy", outs, await checked({ source }, outs));
      expect(await look()).toEqual([]);
    }
    const rotated = await checked({ source: { ...source, password: "canary-99" } }, outs);
    expect(rotated.changeCost).toMatchObject({ kind: "inPlace", because: ["source"] });
    await gateway.update("healthy", outs, rotated);
    expect(readFileSync(path, "utf8")).toBe("canary-99");
    expect(childOf(outs)).toEqual(child);
  });

  it("a lost staging is a lost gateway, which is made anew", async () => {
    const outs = await created();
    const child = childOf(outs);
    rmSync(outs.stagingPath as string, { recursive: true });
    expect(await gateway.read("healthy", outs)).toEqual({ id: "" });
    const anew = await created();
    expect(anew.incarnation).not.toBe(outs.incarnation);
    expect(isAlive(child)).toBe(false);
  });

  it("a create that fails leaves nothing, and the next goes through", async () => {
    const inputs = await checked({ deploymentId: "failed" });
    await expect(gateway.create(inputs)).rejects.toMatchObject({ kind: "process", remedy: "Make room." });
    expect(readdirSync(join(folder, "state"))).toEqual([]);
    await created();
  });

  /** A staging that a gateway of a stack without a state has begun. */
  function formerStaging(): { stagingPath: string; log: string; owner: string } {
    const stagingPath = join(folder, "state", "healthy", "staging");
    mkdirSync(join(stagingPath, "log"), { recursive: true });
    const log = join(stagingPath, "log.json");
    const owner = join(stagingPath, "owner.json");
    writeFileSync(log, JSON.stringify({ version: 1, logId: "former" }));
    writeFileSync(owner, JSON.stringify({ deploymentId: "healthy", incarnation: "former" }));
    return { stagingPath, log, owner };
  }

  it("by adopt it goes on with a staging that is there, which is its own from then on", async () => {
    const { stagingPath, log } = formerStaging();
    const inputs = await checked({ adopt: true });
    expect(inputs.changeCost).toEqual({ kind: "none", because: ["adopt"] });
    const outs = await created({ adopt: true });
    expect(readFileSync(log, "utf8")).toContain("former");
    expect((await gateway.read("healthy", outs)).props?.drift).toEqual([]);
    await gateway.delete("healthy", outs);
    expect(existsSync(stagingPath)).toBe(false);
  });

  it("a create by adopt that fails, or that was killed, leaves the staging as it was", async () => {
    const { log, owner } = formerStaging();
    const inputs = await checked({ adopt: true, httpPort: await listen(), preflight: "up" });
    const before = readFileSync(owner, "utf8");
    await expect(gateway.create(inputs)).rejects.toThrow(/EADDRINUSE/);
    expect(readFileSync(owner, "utf8")).toBe(before);

    // As a provider leaves it that is killed while the gateway starts: tethered to a process that is gone.
    const directory = join(folder, "state", "healthy", "gateway");
    mkdirSync(directory);
    writeFileSync(join(directory, "tether.json"), JSON.stringify({ pid: 2 ** 22 + 1, startTime: "1" }));
    writeFileSync(owner, JSON.stringify({ deploymentId: "healthy", incarnation: "new", adopted: true }));
    await sweepAbandoned(join(folder, "state"), async () => {});
    expect(existsSync(directory)).toBe(false);
    expect(existsSync(log)).toBe(true);
  });

  it("by adopt it is made as ever where there is no staging, and none of another's files are taken", async () => {
    const outs = await created({ adopt: true });
    expect(outs.changeCost).toMatchObject({ kind: "newSlot" });
    const stagingPath = join(folder, "precious");
    mkdirSync(stagingPath);
    writeFileSync(join(stagingPath, "letter.txt"), "");
    expect(await failuresOf({ stagingPath, adopt: true })).toMatchObject([{ property: "stagingPath" }]);
  });

  it("an update that fails goes back to the settings of before", async () => {
    const outs = await created();
    const httpPort = await listen();
    const wanted = { ...outs, httpPort };
    await expect(gateway.update("healthy", outs, wanted)).rejects.toThrow(/EADDRINUSE[\s\S]*settings of before again/);
    expect((await gateway.read("healthy", outs)).props?.drift).toEqual([]);
  });

  it("another deployment's folder is left alone", async () => {
    const outs = await created();
    const inputs = await checked({ slotName: "slot_b" });
    await expect(gateway.create(inputs)).rejects.toMatchObject({ kind: "name-taken" });
    expect((await gateway.read("healthy", outs)).props?.drift).toEqual([]);
  });

  it("a staging folder that became another's stays at delete", async () => {
    const outs = await created();
    const marker = join(outs.stagingPath as string, "owner.json");
    writeFileSync(marker, JSON.stringify({ deploymentId: "another", incarnation: "another" }));
    await gateway.delete("healthy", outs);
    expect(existsSync(marker)).toBe(true);
  });

  it("one that is replaced in its own place, without a diff, leaves the new one alone at its delete", async () => {
    const old = await created();
    const anew = await created();
    await gateway.delete("healthy", old);
    expect((await gateway.read("healthy", anew)).props).toMatchObject({ processState: "healthy", drift: [] });
    await gateway.delete("healthy", anew);
    expect(readdirSync(join(folder, "state"))).toEqual([]);
  });
});
