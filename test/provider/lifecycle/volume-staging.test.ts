// Contract: a gateway that stages in a volume is checked against its workspace at the preview, told what GRANT is missing,
// and made with a folder of its own there; only its own folder is removed, whole and verified, whatever answers get lost.
// A folder as `staging` is a `stagingPath`. Invariants 5 (after delete nothing of ours remains) and 6 (no secret leaves its place).
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { containerConfiguration, filesRead, foldersWritten } from "../../../provider/deploy/container-spec";
import { localDeployment } from "../../../provider/deploy/local";
import { applierSpec } from "../../../provider/lifecycle/applier-process";
import { gatewayLifecycle, gatewaySpec } from "../../../provider/lifecycle/gateway";
import { ingestionPipelineLifecycle } from "../../../provider/lifecycle/ingestion-pipeline";
import type { Properties } from "../../../provider/lifecycle/lifecycle";
import { unknownValue } from "../../../provider/lifecycle/unknown-value";
import { DatabricksWorkspace } from "../../support/databricks-workspace";
import { Random } from "../../support/random";

const deployment = () => localDeployment({ mainPath: join(process.cwd(), "dist/test/support/stub-runtime.js") });
const gateway = gatewayLifecycle(deployment);
const pipeline = ingestionPipelineLifecycle(deployment);
const volume = "main.sluice.staging";
const stagingPath = "/Volumes/main/sluice/staging/healthy";
let folder: string;
let workspace: DatabricksWorkspace;
let token: string;
let made: Properties[] = [];

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), "sluice-volume-gateway-"));
  workspace = await DatabricksWorkspace.open();
  token = await workspace.addVolume(volume);
  vi.stubEnv("SLUICE_TEST_DATABRICKS", token);
});

afterEach(async () => {
  workspace.options.decide = undefined;
  for (const props of made) await gateway.delete("", props);
  made = [];
  await workspace.close();
  vi.unstubAllEnvs();
  rmSync(folder, { recursive: true, force: true });
});

const settings = () => ({ host: workspace.host, token: { env: "SLUICE_TEST_DATABRICKS" } });
const staged = (more: Properties = {}) => ({ kind: "volume", volume, workspace: settings(), ...more });

function news(more: Properties = {}): Properties {
  return {
    source: { host: "db", database: "shop", user: "sluice", password: { env: "SLUICE_TEST_GATEWAY" } },
    publicationName: "pub",
    slotName: "slot_a",
    slotIncarnation: "1",
    deploymentId: "healthy",
    stateDir: join(folder, "state"),
    stopTimeoutMs: 3_000,
    staging: staged(),
    ...more,
  };
}

const failuresOf = async (more: Properties = {}, olds: Properties = {}) =>
  (await gateway.check(olds, news(more))).failures;

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

const inVolume = (path: string) => workspace.files.local(`${stagingPath}${path}`);

describe("check", () => {
  it("says where it is, and takes what isn't said from the environment", async () => {
    expect(await checked()).toMatchObject({ stagingPath, staging: { volume, uploadsMax: 4 } });
    expect((await checked({ staging: staged({ path: "a/b" }) })).stagingPath).toBe("/Volumes/main/sluice/staging/a/b");
    vi.stubEnv("DATABRICKS_HOST", workspace.host);
    vi.stubEnv("DATABRICKS_TOKEN", token);
    const inputs = await checked({ staging: { kind: "volume", volume } });
    const byVariable = { host: workspace.host, token: { env: "DATABRICKS_TOKEN" } };
    expect(inputs.staging).toMatchObject({ workspace: byVariable });
    expect(JSON.stringify(inputs)).not.toContain(token);
    // Where they aren't set any more it stays what it was.
    vi.stubEnv("DATABRICKS_HOST", undefined);
    vi.stubEnv("DATABRICKS_TOKEN", undefined);
    vi.stubEnv("DATABRICKS_CONFIG_FILE", join(folder, "none"));
    const again = await gateway.check(inputs, news({ staging: { kind: "volume", volume } }));
    expect(again.failures).toEqual([]);
    expect(gateway.diff("", inputs, again.inputs)).toMatchObject({ changes: false });
  });

  it("takes a folder for a stagingPath", async () => {
    const path = join(folder, "elsewhere");
    const asPath = await checked({ staging: undefined, stagingPath: path });
    const asStaging = await checked({ staging: { kind: "folder", path } }, asPath);
    expect(asStaging).toEqual(asPath);
  });

  it.each([
    [{ staging: { kind: "volume", volume: "staging" } }, "staging.volume", /catalog\.schema\.volume/],
    [{ staging: { kind: "bucket" } }, "staging.kind", /./],
    [{ stagingPath: "/srv/staging" }, "stagingPath", /exclude each other/],
  ])("refuses %j", async (more, property, reason) => {
    expect(await failuresOf(more)).toMatchObject([{ property, reason: expect.stringMatching(reason) }]);
  });

  it("tells a workspace that isn't said or can't be used, without its token", async () => {
    vi.stubEnv("DATABRICKS_CONFIG_FILE", join(folder, "none"));
    const unsaid = await failuresOf({ staging: { kind: "volume", volume } });
    expect(unsaid).toMatchObject([
      { property: "staging.workspace", reason: expect.stringContaining("remedy: Give host") },
    ]);
    workspace.revokeTokens();
    const refused = await failuresOf();
    expect(refused).toMatchObject([{ property: "staging.workspace", reason: expect.stringContaining("401") }]);
    expect(JSON.stringify(refused)).not.toContain(token);
    expect(await failuresOf({ preflight: "up" })).toEqual([]);
  });

  it("tells the GRANT that is missing, and a volume that is", async () => {
    workspace.catalog.revoke(volume, "ingest@example.com", "WRITE_VOLUME");
    const lacks = await failuresOf();
    const grant = "GRANT WRITE VOLUME ON VOLUME `main`.`sluice`.`staging` TO `ingest@example.com`;";
    expect(lacks).toEqual([{ property: "staging.volume", reason: expect.stringContaining(grant) }]);
    const absent = await failuresOf({ staging: staged({ volume: "main.sluice.other" }) });
    expect(absent.map(({ reason }) => reason).join()).toContain("CREATE VOLUME `main`.`sluice`.`other`");
  });

  it("knows a folder of the volume that isn't empty", async () => {
    const path = workspace.files.local("/Volumes/main/sluice/staging/taken");
    mkdirSync(path);
    writeFileSync(join(path, "letter.txt"), "");
    expect(await failuresOf({ staging: staged({ path: "taken" }) })).toMatchObject([
      { property: "staging", reason: expect.stringContaining("isn't empty") },
    ]);
  });

  it("is the same for a gateway in a cluster's pods", async () => {
    const deployment = { kind: "kubernetes", namespace: "shop" };
    const { failures, inputs } = await gateway.check({}, news({ preflight: "up", deployment }));
    expect(failures).toEqual([]);
    expect(inputs).toMatchObject({ stagingPath, staging: { kind: "volume" } });
  });

  it("lets unknown values pass", async () => {
    for (const staging of [unknownValue, staged({ volume: unknownValue }), staged({ workspace: unknownValue })]) {
      expect(await failuresOf({ staging })).toEqual([]);
    }
  });
});

describe("diff", () => {
  const replaces = async (olds: Properties, more: Properties) => {
    // Another slot's than that of the other tests: a check remembers that its gateway takes over.
    const { inputs } = await gateway.check(olds, news({ preflight: "up", slotIncarnation: "2", ...more }));
    const { changes, replaces: properties } = await gateway.diff("", olds, inputs);
    return changes ? properties : null;
  };

  it("is another gateway in another place, and restarts for all else", async () => {
    const olds = await checked({ preflight: "up", slotIncarnation: "2" });
    expect(await replaces(olds, {})).toBeNull();
    expect(await replaces(olds, { staging: staged({ uploadsMax: 2 }) })).toEqual([]);
    const secret = { host: workspace.host, clientId: "id", clientSecret: { file: "/run/secret" } };
    expect(await replaces(olds, { staging: staged({ workspace: secret }) })).toEqual([]);
    expect(await replaces(olds, { staging: staged({ path: "other" }) })).toEqual(["stagingPath"]);
    const host = { ...settings(), host: "https://elsewhere.cloud.databricks.com" };
    expect(await replaces(olds, { staging: staged({ workspace: host }) })).toEqual(["staging"]);
    expect(await replaces(olds, { staging: undefined })).toEqual(expect.arrayContaining(["stagingPath"]));
  });
});

describe("the process", () => {
  it("gets the place, a local folder below its own, and its secret's variable", async () => {
    const spec = gatewaySpec(await checked());
    const staging = { kind: "volume", workspace: settings(), localPath: join(spec.directory, "staging") };
    expect(spec.config).toMatchObject({ stagingPath, staging });
    expect(spec.secretVariables).toEqual(["SLUICE_TEST_GATEWAY", "SLUICE_TEST_DATABRICKS"]);
    expect(foldersWritten(spec)).toEqual([spec.directory]);
    const inContainer = JSON.parse(containerConfiguration(spec, { kind: "docker" } as never)) as Properties;
    const file = join(spec.directory, "env-SLUICE_TEST_DATABRICKS.secret");
    expect(inContainer.staging).toMatchObject({ workspace: { token: { file } } });
    const profile = { profile: "service", configFile: "/etc/databrickscfg" };
    const byProfile = gatewaySpec(await checked({ preflight: "up", staging: staged({ workspace: profile }) }));
    expect(filesRead(byProfile)).toEqual(["/etc/databrickscfg"]);
  });

  it("of the pipeline reads the same", async () => {
    const inputs = {
      deploymentId: "healthy",
      stateDir: join(folder, "state"),
      stagingPath,
      stagingIncarnation: "1",
      destination: { kind: "local", path: join(folder, "lake") },
    };
    const { inputs: whole, failures } = await pipeline.check({}, { ...inputs, staging: staged() });
    expect(failures).toEqual([]);
    const spec = applierSpec(whole);
    expect(spec.config).toMatchObject({ stagingPath, staging: { localPath: join(spec.directory, "staging") } });
    expect(spec.secretVariables).toEqual(["SLUICE_TEST_DATABRICKS"]);
    const lacks = await pipeline.check({}, inputs);
    expect(lacks.failures).toMatchObject([{ property: "staging", reason: expect.stringContaining("of the Gateway") }]);
    const other = await pipeline.check({}, { ...inputs, staging: staged({ volume: "main.sluice.other" }) });
    expect(other.failures).toMatchObject([{ property: "stagingPath" }]);
  });
});

describe("create, read and delete", () => {
  it("go round, and leave the volume as it was", async () => {
    const outs = await created();
    expect(JSON.parse(readFileSync(inVolume("/owner.json"), "utf8"))).toEqual({
      deploymentId: "healthy",
      incarnation: outs.incarnation,
    });
    expect((await gateway.read("healthy", outs)).props).toMatchObject({ drift: [], processState: "healthy" });
    for (const path of ["/log/1.json", "/schema/7/1.json", "/data/a.parquet", "/requests/resync/7.json"]) {
      mkdirSync(join(inVolume(path), ".."), { recursive: true });
      writeFileSync(inVolume(path), "x");
    }
    const random = new Random(5);
    workspace.options.decide = () => (random.between(1, 4) === 1 ? { kind: "lost-response" } : null);
    await gateway.delete("healthy", outs);
    made = [];
    expect(readdirSync(workspace.files.local("/Volumes/main/sluice/staging"))).toEqual([]);
    expect(existsSync(join(folder, "state"))).toBe(true);
    expect(readdirSync(join(folder, "state"))).toEqual([]);
  });

  it("a lost staging is a lost gateway; one that became another's stays", async () => {
    const outs = await created();
    rmSync(inVolume("/owner.json"));
    expect(await gateway.read("healthy", outs)).toEqual({ id: "" });
    writeFileSync(inVolume("/owner.json"), JSON.stringify({ deploymentId: "another", incarnation: "another" }));
    await gateway.delete("healthy", outs);
    made = [];
    expect(existsSync(inVolume("/owner.json"))).toBe(true);
  });

  it("a log that no stack knows is gone on with by adopt, and given back where that fails", async () => {
    mkdirSync(inVolume(""), { recursive: true });
    const former = JSON.stringify({ deploymentId: "former", incarnation: "former" });
    writeFileSync(inVolume("/owner.json"), former);
    writeFileSync(inVolume("/log.json"), "{}");
    const failing = await checked({ deploymentId: "failed", adopt: true, staging: staged({ path: "healthy" }) });
    await expect(gateway.create(failing)).rejects.toMatchObject({ kind: "process" });
    expect(readFileSync(inVolume("/owner.json"), "utf8")).toBe(former);
    const outs = await created({ adopt: true });
    expect(readFileSync(inVolume("/owner.json"), "utf8")).toContain(String(outs.incarnation));
    expect(existsSync(inVolume("/log.json"))).toBe(true);
  });

  it("a create that fails leaves nothing; a delete that can't reach the workspace fails and says so", async () => {
    const failing = await checked({ deploymentId: "failed" });
    await expect(gateway.create(failing)).rejects.toMatchObject({ kind: "process" });
    expect(readdirSync(workspace.files.local("/Volumes/main/sluice/staging"))).toEqual([]);
    const outs = await created();
    workspace.options.decide = () => ({ kind: "status", status: 403, errorCode: "PERMISSION_DENIED" });
    await expect(gateway.delete("healthy", outs)).rejects.toMatchObject({
      kind: "permission",
      remedy: expect.stringContaining("GRANT"),
    });
  });
});
