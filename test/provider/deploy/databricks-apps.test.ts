// Contract: a process of the target `databricks` is an app of its own, made of what is in a folder of the workspace and a secret
// scope; it is healthy when create returns, another configuration is another deployment of it, an update that fails leaves the
// former one, and delete leaves no app, scope, source or staging. What an app can't be is refused before anything is made.
// Invariants 5 (after delete nothing of ours remains) and 6 (no secret leaves the place it was given to).
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { hostname } from "node:os";
import { join, resolve } from "node:path";
import { describe, expect, it, vi } from "vitest";
import { parse } from "yaml";
import { databricksDeployment } from "../../../provider/deploy/databricks";
import { packRuntime, runtimeDependencies } from "../../../provider/deploy/databricks-app-package";
import { appSource } from "../../../provider/deploy/databricks-app-source";
import { processProblem } from "../../../provider/deploy/databricks-configuration";
import { describeProcess, processName, readDescription } from "../../../provider/deploy/databricks-names";
import { databricksOptionsSchema } from "../../../provider/deploy/databricks-options";
import type { ProcessSpec } from "../../../provider/deploy/deployment";
import { stagingPlaceOf, targetInputSchema } from "../../../provider/deploy/target";
import { applierSpec } from "../../../provider/lifecycle/applier-process";
import { gatewaySpec } from "../../../provider/lifecycle/gateway";
import { checkIngestionPipelineInputs } from "../../../provider/lifecycle/ingestion-pipeline-inputs";
import type { Properties } from "../../../provider/lifecycle/lifecycle";
import { appHttp } from "../../../runtime/app-process";
import { runtimeConfigSchema } from "../../../runtime/config";
import { machineConfiguration } from "../../../runtime/machine-process";
import { until } from "../../support/conditions";
import { longTest } from "../../support/long-test";
import { stateDir, WorkspaceGateway } from "../../support/workspace-gateway";

const mainPath = resolve(__dirname, "../../../dist/runtime/main.js");
const deploymentOf = (input: unknown) => databricksDeployment(databricksOptionsSchema.parse(input), { lookMs: 20 });
const bench = new WorkspaceGateway(deploymentOf);
const { lifecycle: gateway, settings, target, news, checked, created } = bench;

const name = "sluice-slot-a-gateway";
const app = () => bench.workspace.apps.apps.get(name);
const left = () => ({
  apps: [...bench.workspace.apps.apps.keys()],
  scopes: [...bench.workspace.apps.scopes.keys()],
  files: [...bench.workspace.apps.files.keys()],
});

describe("an app", () => {
  it("runs the gateway, goes over to other settings, is seen when it fails, and leaves nothing", async () => {
    const outs = await created();
    expect(left().apps).toEqual([name]);
    // Secrets are in the scope alone: not among the sources, nor in what was logged.
    const secrets = [bench.server.password, bench.identity.clientSecret];
    expect([...(bench.workspace.apps.scopes.get(name)?.values() ?? [])].sort()).toEqual([...secrets].sort());
    const told = [...bench.workspace.apps.files]
      .filter(([path]) => !path.endsWith(".tgz"))
      .map(([, content]) => content.toString("utf8"));
    for (const secret of secrets) {
      expect([...told, app()?.log, app()?.description].filter((text) => text?.includes(secret))).toEqual([]);
    }
    const status = await deploymentOf(target()).status(gatewaySpec(outs).directory);
    expect(status?.state.kind).toBe("running");
    await until("all is staged", async () => {
      const document = await deploymentOf(target()).status(gatewaySpec(outs).directory);
      return JSON.stringify(document).includes('"snapshotRows":10');
    });
    expect((await gateway().read("", outs)).props).toMatchObject({ drift: [] });

    const first = app()?.active?.source_code_path;
    const wanted = await checked({ batch: { ageMsMax: 250 } }, outs);
    bench.made = (await gateway().update("", outs, wanted)).outs;
    expect(app()?.active?.source_code_path).not.toBe(first);
    expect(left().files.filter((path) => path.startsWith(`${first}/`))).toEqual([]);
    const deployments = app()?.deployments.length;
    await deploymentOf(target()).apply(gatewaySpec(bench.made));
    expect(app()?.deployments.length).toBe(deployments);

    // The platform starts nothing again: what runs in the app does.
    const before = await deploymentOf(target()).status(gatewaySpec(bench.made).directory);
    process.kill(before?.pid as number, "SIGKILL");
    await until("it runs again", async () => {
      const now = await deploymentOf(target()).status(gatewaySpec(bench.made as Properties).directory);
      return now !== null && now.pid !== before?.pid && now.state.kind === "running";
    });

    await bench.workspace.apps.answer("POST", `/api/2.0/apps/${name}/stop`, new URLSearchParams(), "");
    const stopped = (await gateway().read("", bench.made)).props as Properties;
    expect(stopped.drift).toEqual(["the gateway isn't running"]);
    bench.made = (await gateway().update("", stopped, await checked({ batch: { ageMsMax: 250 } }, stopped))).outs;

    await bench.workspace.apps.crash(name);
    const crashed = (await gateway().read("", bench.made)).props as Properties;
    expect(crashed.drift).toEqual([expect.stringMatching(/the gateway has failed: App crashed/)]);
    bench.made = (await gateway().update("", crashed, await checked({ batch: { ageMsMax: 250 } }, crashed))).outs;
    expect((await gateway().read("", bench.made)).props).toMatchObject({ drift: [] });

    await gateway().delete("", bench.made);
    bench.made = null;
    expect(left()).toEqual({ apps: [], scopes: [], files: [] });
    expect(existsSync(bench.workspace.files.local("/Volumes/main/sluice/staging/slot_a"))).toBe(false);
  }, 120_000);

  longTest(
    "that can't be deployed leaves nothing at create, and the former one at update",
    async () => {
      bench.workspace.apps.failNext = "npm error: no network";
      const inputs = await checked();
      await expect(gateway().create(inputs)).rejects.toThrow(/can't be deployed: npm error: no network/);
      expect(left()).toEqual({ apps: [], scopes: [], files: [] });

      const outs = await created();
      const path = app()?.active?.source_code_path;
      bench.workspace.apps.failNext = "npm error: no network";
      const wanted = await checked({ batch: { ageMsMax: 250 } }, outs);
      await expect(gateway().update("", outs, wanted)).rejects.toThrow(/no network/);
      expect(app()?.active?.source_code_path).toBe(path);
      expect((await gateway().read("", outs)).props).toMatchObject({ drift: [] });
    },
    120_000,
  );

  longTest(
    "is made once, whatever answers are lost",
    async () => {
      const lost = new Set([
        "POST /api/2.0/apps",
        `POST /api/2.0/apps/${name}/deployments`,
        "POST /api/2.0/secrets/scopes/create",
      ]);
      bench.workspace.options.decide = ({ method, path }) =>
        lost.delete(`${method} ${path}`) ? { kind: "lost-response" } : null;
      await created();
      expect(lost.size).toBe(0);
      expect(app()?.deployments).toHaveLength(1);
      lost.add(`DELETE /api/2.0/apps/${name}`).add("POST /api/2.0/workspace/delete");
      await gateway().delete("", bench.made as Properties);
      bench.made = null;
      expect(left()).toEqual({ apps: [], scopes: [], files: [] });
    },
    120_000,
  );

  it("reads its secrets from a scope that is there, and leaves that", async () => {
    const secretScope = "shop";
    const missing = await gateway().check({}, news({ deployment: target({ secretScope }) }));
    expect(missing.failures).toMatchObject([
      { property: "deployment", reason: expect.stringMatching(/put-secret shop SLUICE_TEST_/) },
    ]);
    const values = { SLUICE_TEST_SOURCE: bench.server.password, SLUICE_TEST_WORKSPACE: bench.identity.clientSecret };
    bench.workspace.apps.scopes.set(secretScope, new Map(Object.entries(values)));
    const outs = await created({ deployment: target({ secretScope }) });
    expect(left().scopes).toEqual([secretScope]);
    await gateway().delete("", outs);
    bench.made = null;
    expect(left()).toEqual({ apps: [], scopes: [secretScope], files: [] });
  }, 120_000);

  it("of another is neither taken nor removed", async () => {
    await bench.workspace.apps.answer(
      "POST",
      "/api/2.0/apps",
      new URLSearchParams(),
      JSON.stringify({ name, description: "theirs" }),
    );
    const { failures } = await gateway().check({}, news());
    expect(failures).toMatchObject([
      { reason: expect.stringMatching(/the app sluice-slot-a-gateway exists and isn't/) },
    ]);
    await deploymentOf(target()).remove(`${stateDir}/slot_a/gateway`, 1_000);
    expect(left().apps).toEqual([name]);
  });

  it("of a create that was killed is swept, once its provider is gone", async () => {
    const tether = (startTime: string) => JSON.stringify({ host: hostname(), pid: process.pid, startTime });
    const make = (directory: string, startTime: string) =>
      bench.workspace.apps.answer(
        "POST",
        "/api/2.0/apps",
        new URLSearchParams(),
        JSON.stringify({ name: processName(directory), description: describeProcess(directory, tether(startTime)) }),
      );
    await make(`${stateDir}/a/gateway`, "0");
    await make("/elsewhere/b/gateway", "0");
    await deploymentOf(target()).sweep(stateDir, 1_000);
    expect(left().apps).toEqual(["sluice-b-gateway"]);
  });
});

const spec = (config: object): ProcessSpec =>
  ({
    ...gatewaySpec({ ...news(), deploymentId: "slot_a", stagingPath: "/Volumes/main/sluice/staging/slot_a" }),
    config: {
      ...gatewaySpec({ ...news(), deploymentId: "slot_a", stagingPath: "/Volumes/main/sluice/staging/slot_a" }).config,
      ...config,
    },
  }) as ProcessSpec;

describe("is refused, with what helps:", () => {
  const applier = { role: "applier", destination: { kind: "databricks" }, trigger: { kind: "continuous" } };
  it.each([
    ["staging in a folder", { staging: undefined }, /an app keeps no files: its staging/],
    ["a source on this machine", { source: { host: "localhost" } }, /is the app itself, in an app/],
    [
      "tables in a folder",
      { ...applier, destination: { kind: "local", path: "/lake" } },
      /it can't write Delta tables into a folder/,
    ],
    ["a run that ends", { ...applier, trigger: { kind: "once" } }, /runs for good/],
    ["a port", { http: { port: 9000 } }, /the platform's choice/],
    ["a profile", { staging: { kind: "volume", workspace: { profile: "x" } } }, /has no \.databrickscfg/],
  ])("%s", (_, config, message) => expect(processProblem(spec(config), "app")?.message).toMatch(message));

  it("a personal access token, as an app answers none", async () => {
    vi.stubEnv("SLUICE_TEST_TOKEN", bench.workspace.addToken("me@example.com"));
    const deployment = target({ workspace: { host: bench.workspace.host, token: { env: "SLUICE_TEST_TOKEN" } } });
    const { failures } = await gateway().check({}, news({ deployment }));
    expect(failures).toMatchObject([{ property: "deployment", reason: expect.stringMatching(/OAuth alone/) }]);
  });
});

describe("what an app is made of", () => {
  it("has no secret, and variables of its own, as DATABRICKS_… are the platform's", () => {
    const given = gatewaySpec({
      ...news(),
      deploymentId: "slot_a",
      stagingPath: "/Volumes/main/sluice/staging/slot_a",
    });
    const { directory } = given;
    const source = { ...(given.config as { source: object }).source, password: { file: `${directory}/source.secret` } };
    const certificate = resolve(__dirname, "databricks-apps.test.ts");
    const config = { ...given.config, source: { ...source, sslRootCertFile: certificate } } as ProcessSpec["config"];
    const made = appSource({ ...given, config, secretFiles: { "source.secret": "hush" } });
    expect(made.secrets).toEqual({
      SLUICE_SECRET_SOURCE_SECRET: { kind: "value", name: "source.secret" },
      SLUICE_SECRET_SLUICE_TEST_WORKSPACE: { kind: "variable", name: "SLUICE_TEST_WORKSPACE" },
    });
    const read = JSON.parse(made.files["config.json"]) as { source: Properties; staging: { workspace: Properties } };
    expect(read.source).toMatchObject({
      password: { env: "SLUICE_SECRET_SOURCE_SECRET" },
      sslRootCert: readFileSync(certificate, "utf8"),
    });
    expect(read.source.sslRootCertFile).toBeUndefined();
    expect(read.staging.workspace.clientSecret).toEqual({ env: "SLUICE_SECRET_SLUICE_TEST_WORKSPACE" });
    expect(parse(made.files["app.yaml"])).toMatchObject({
      command: ["node", expect.stringMatching(/main\.js$/), "app", "--config", "config.json"],
      env: [
        { name: "SLUICE_SECRET_SLUICE_TEST_WORKSPACE", valueFrom: "sluice-secret-sluice-test-workspace" },
        { name: "SLUICE_SECRET_SOURCE_SECRET", valueFrom: "sluice-secret-source-secret" },
      ],
    });
    expect(machineConfiguration(read, "/tmp/x", appHttp({ DATABRICKS_APP_PORT: "8001" }))).toMatchObject({
      http: { port: 8001, host: "0.0.0.0" },
      statusPath: "/tmp/x/status.json",
      staging: { localPath: "/tmp/x/staging" },
    });
  });
});

it("the applier of an app has a configuration that the runtime takes, with the warehouse's secret as a variable", async () => {
  const destination = {
    ...{ kind: "databricks", mode: "warehouse", ...settings(), warehouseId: "1", catalog: "main", schema: "shop" },
    parallelMax: 2,
  };
  const { inputs, failures } = checkIngestionPipelineInputs({
    ...{ deploymentId: "slot_a", stateDir, deployment: target(), stagingIncarnation: "1", destination },
    ...{ stagingPath: "/Volumes/main/sluice/staging/slot_a", staging: news().staging },
  });
  expect(failures).toEqual([]);
  const made = appSource(applierSpec(inputs));
  expect(Object.values(made.secrets)).toEqual([{ kind: "variable", name: "SLUICE_TEST_WORKSPACE" }]);
  const read = machineConfiguration(JSON.parse(made.files["config.json"]) as Properties, "/tmp/x", appHttp({}));
  expect(runtimeConfigSchema.parse(read)).toMatchObject({
    role: "applier",
    http: { port: 8_000, host: "0.0.0.0" },
    destination: { clientSecret: { env: "SLUICE_SECRET_SLUICE_TEST_WORKSPACE" }, warehouseId: "1" },
    staging: {
      localPath: "/tmp/x/staging",
      workspace: { clientSecret: { env: "SLUICE_SECRET_SLUICE_TEST_WORKSPACE" } },
    },
  });
});

describe("what tells apps", () => {
  it("is a name that the platform takes, and the folder in the description", () => {
    expect(processName("/state/orders/gateway")).toBe("sluice-orders-gateway");
    const long = processName("/state/dbx_pub_16384_a_very_long_name/applier");
    expect(long).toMatch(/^[a-z0-9-]{2,30}$/);
    expect(readDescription(describeProcess("/a b/c/gateway", null))).toEqual({
      directory: "/a b/c/gateway",
      tether: null,
    });
    expect(readDescription(describeProcess("/a b/c/gateway", '{"pid":1}'))).toEqual({
      directory: "/a b/c/gateway",
      tether: '{"pid":1}',
    });
    expect(readDescription("a dashboard")).toBeNull();
  });

  it("is the workspace, which is remembered: another one is another place of staging", () => {
    vi.stubEnv("DATABRICKS_HOST", "https://one.example.com");
    const known = targetInputSchema.parse({ kind: "databricks", workspace: {} });
    expect(known).toMatchObject({ workspace: { host: "https://one.example.com" }, folder: "/Workspace/Shared/sluice" });
    const other = { ...known, workspace: { host: "https://two.example.com" } };
    expect(stagingPlaceOf(known)).not.toBe(stagingPlaceOf(other));
  });
});

it("the package of an app is the runtime with all that it loads of others, the same each time, and small", async () => {
  const [one, two] = [await packRuntime(mainPath), await packRuntime(mainPath)];
  expect(one.equals(two)).toBe(true);
  expect(one.length).toBeLessThan(2_000_000);
  const loaded = (readdirSync(resolve(mainPath, ".."), { recursive: true }) as string[])
    .filter((path) => path.endsWith(".js"))
    .flatMap((path) => [
      ...readFileSync(join(mainPath, "..", path), "utf8").matchAll(/(?:require|import)\("([^."][^"]*)"\)/g),
    ])
    .map(([, module]) => module)
    .filter((module) => !module.startsWith("node:"));
  const packages = [
    ...new Set(
      loaded.map((module) =>
        module
          .split("/")
          .slice(0, module.startsWith("@") ? 2 : 1)
          .join("/"),
      ),
    ),
  ];
  expect(packages.filter((each) => !(runtimeDependencies as readonly string[]).includes(each))).toEqual([]);
});
