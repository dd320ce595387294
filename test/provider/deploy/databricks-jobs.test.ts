// Contract: with `job` a process of the target `databricks` is a continuous job of its own, with one machine made of an image, which
// a small file starts; it tells how it is in its staging's volume, and is healthy when create returns. Another configuration is
// another run, begun when the former has ended; an update that fails goes back; delete leaves no job, run, report, scope, source or
// staging. What a job can't be is refused before anything is made.
// Invariants 5 (after delete nothing of ours remains) and 6 (no secret leaves the place it was given to).
import { spawn } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { hostname, tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { describe, expect, it } from "vitest";
import { databricksDeployment } from "../../../provider/deploy/databricks";
import { processProblem } from "../../../provider/deploy/databricks-configuration";
import { jobSettings, jobSource, reportPath } from "../../../provider/deploy/databricks-job-source";
import { databricksJobsDeployment } from "../../../provider/deploy/databricks-jobs";
import { describeProcess, processName } from "../../../provider/deploy/databricks-names";
import { databricksOptionsSchema } from "../../../provider/deploy/databricks-options";
import type { ProcessSpec } from "../../../provider/deploy/deployment";
import { engineOf, stagingPlaceOf } from "../../../provider/deploy/target";
import { gatewayLifecycle, gatewaySpec } from "../../../provider/lifecycle/gateway";
import type { Properties } from "../../../provider/lifecycle/lifecycle";
import type { JobReport } from "../../../runtime/job-process";
import type { ProcessState } from "../../../runtime/status";
import { version } from "../../../runtime/version";
import { until } from "../../support/conditions";
import { hasPython } from "../../support/databricks-jobs";
import { longTest } from "../../support/long-test";
import { stateDir, WorkspaceGateway } from "../../support/workspace-gateway";

const inVolume = "/Volumes/main/sluice/staging";
const image = "registry.example/sluice-job:1";

const job = (more: object = {}) => ({
  ...{ image, sparkVersion: "16.4.x-scala2.13", nodeTypeId: "m6i.large", nodePath: process.execPath },
  runtimePath: resolve(__dirname, "../../../dist/runtime/main.js"),
  ...more,
});

function deploymentOf(input: unknown) {
  const options = databricksOptionsSchema.parse(input);
  if (options.job === undefined) throw new Error("no job");
  return databricksJobsDeployment({ ...options, job: options.job }, { lookMs: 20, reportMs: 100 });
}

const bench = new WorkspaceGateway(
  deploymentOf,
  () => ({ job: job() }),
  ({ jobs }) => {
    jobs.images = new Set([image]);
  },
);
const { lifecycle: gateway, settings, target, news, checked, created } = bench;

const name = "sluice-slot-a-gateway";
const directory = `${stateDir}/slot_a/gateway`;
const spec = (config: object = {}): ProcessSpec => {
  const made = gatewaySpec({ ...news(), deploymentId: "slot_a", stagingPath: `${inVolume}/slot_a` });
  return { ...made, config: { ...made.config, ...config } } as ProcessSpec;
};
const report = () => bench.workspace.files.local(reportPath(spec().config, directory));
const left = () => ({
  jobs: [...bench.workspace.jobs.jobs.values()].map(({ settings }) => settings.name),
  scopes: [...bench.workspace.apps.scopes.keys()],
  files: [...bench.workspace.apps.files.keys()],
  reports: existsSync(dirname(report())),
});
const nothing = { jobs: [], scopes: [], files: [], reports: false };
const states = () => bench.workspace.jobs.named(name).runs.map(({ state }) => state);

/** Runs have no process, and tell this. */
function told(state: ProcessState, more: Partial<JobReport> = {}, ofVersion = version): void {
  bench.workspace.jobs.runner = "none";
  bench.workspace.jobs.onRun = (run, task) => {
    const document = JSON.parse(JSON.parse(/^job = (.*)$/m.exec(task)?.[1] ?? "") as string);
    const { deployment, path } = (document as { report: { deployment: string; path: string } }).report;
    const status = { state, version: ofVersion, startedAt: "", pid: run } as unknown as JobReport["status"];
    const all = {
      run: String(run),
      deployment,
      at: new Date().toISOString(),
      healthy: state.kind === "running",
      status,
    };
    mkdirSync(dirname(bench.workspace.files.local(path)), { recursive: true });
    writeFileSync(bench.workspace.files.local(path), JSON.stringify({ ...all, lines: ["its last words"], ...more }));
  };
}

describe("a job", () => {
  it.skipIf(!hasPython())(
    "runs the gateway by Python, goes over to other settings, is seen when it fails, and leaves nothing",
    async () => {
      bench.workspace.jobs.runner = "python";
      const outs = await created();
      expect(left()).toMatchObject({ jobs: [name], scopes: [name], reports: true });
      const secrets = [bench.server.password, bench.identity.clientSecret];
      const { runs, settings } = bench.workspace.jobs.named(name);
      const texts = [...bench.workspace.apps.files.values()].map(String);
      texts.push(JSON.stringify(settings), runs[0].log);
      for (const secret of secrets) expect(texts.filter((text) => text.includes(secret))).toEqual([]);
      await until("all is staged", async () => {
        const document = await deploymentOf(target()).status(gatewaySpec(outs).directory);
        return JSON.stringify(document).includes('"snapshotRows":10');
      });
      expect((await gateway().read("", outs)).props).toMatchObject({ drift: [] });

      bench.made = (await gateway().update("", outs, await checked({ batch: { ageMsMax: 250 } }, outs))).outs;
      // The former process ended by its signal, and was there no more when the next began.
      expect(states()).toEqual(["TERMINATED", "RUNNING"]);
      expect(runs[0]).toMatchObject({ killed: false, end: { code: "USER_CANCELED" } });
      expect(left().files.filter((path) => path.endsWith("/job.py"))).toHaveLength(1);
      await deploymentOf(target()).apply(gatewaySpec(bench.made));
      expect(states()).toEqual(["TERMINATED", "RUNNING"]);

      // A crash is followed by another process on the same machine.
      const before = await deploymentOf(target()).status(directory);
      process.kill(before?.pid as number, "SIGKILL");
      await until("it runs again", async () => {
        const now = await deploymentOf(target()).status(directory);
        return now !== null && now.pid !== before?.pid && now.state.kind === "running";
      });
      expect(states()).toEqual(["TERMINATED", "RUNNING"]);

      await bench.workspace.jobs.lose(name);
      await until(
        "it runs elsewhere",
        async () => (await deploymentOf(target()).status(directory))?.state.kind === "running",
      );
      expect((await gateway().read("", bench.made)).props).toMatchObject({ drift: [] });

      await gateway().delete("", bench.made);
      bench.made = null;
      expect(left()).toEqual(nothing);
      expect(runs.map(({ killed }) => killed)).toEqual([false, false, false]);
      expect(existsSync(bench.workspace.files.local(`${inVolume}/slot_a`))).toBe(false);
    },
    120_000,
  );

  it("is started without Python too by what the file starts, with secrets of a scope that is there", async () => {
    const secretScope = "shop";
    const deployment = target({ secretScope });
    const missing = await gateway().check({}, news({ deployment }));
    expect(missing.failures).toMatchObject([{ reason: expect.stringMatching(/put-secret shop SLUICE_TEST_/) }]);
    const values = { SLUICE_TEST_SOURCE: bench.server.password, SLUICE_TEST_WORKSPACE: bench.identity.clientSecret };
    bench.workspace.apps.scopes.set(secretScope, new Map(Object.entries(values)));
    await gateway().delete("", await created({ deployment }));
    bench.made = null;
    expect(left()).toEqual({ ...nothing, scopes: [secretScope] });
  }, 120_000);

  it("whose process fails, or whose machine can't be made, leaves nothing at create, and the former one at update", async () => {
    const inputs = await checked();
    told({ kind: "failed", errorKind: "config", message: "no such slot", remedy: "Make it." });
    await expect(gateway().create(inputs)).rejects.toThrow(/failed: no such slot\s+last log lines:\s+its last words/);
    expect(left()).toEqual(nothing);
    told({ kind: "running" }, {}, "0.0.9");
    await expect(gateway().create(inputs)).rejects.toThrow(/is of version 0.0.9, and this is/);
    expect(left()).toEqual(nothing);

    told({ kind: "running" });
    const outs = await created();
    const refused = { kind: "status" as const, status: 403, errorCode: "PERMISSION_DENIED" };
    bench.workspace.options.decide = ({ path }) => (path === "/api/2.0/workspace/import" ? refused : null);
    const slower = await checked({ batch: { ageMsMax: 250 } }, outs);
    await expect(gateway().update("", outs, slower)).rejects.toThrow(/doesn't take the file .*PERMISSION_DENIED/);
    bench.workspace.options.decide = undefined;
    // What had not been touched yet goes on.
    expect(states()).toEqual(["RUNNING"]);

    const before = bench.workspace.jobs.named(name).settings;
    const other = await checked({ deployment: target({ job: job({ image: "registry.example/other:1" }) }) }, outs);
    await expect(gateway().update("", outs, other)).rejects.toThrow(/CLUSTER_ERROR.*DOCKER_IMAGE_PULL_FAILURE/);
    const { tasks, job_clusters, continuous } = bench.workspace.jobs.named(name).settings;
    expect({ tasks, job_clusters, continuous }).toMatchObject({
      ...{ tasks: before.tasks, job_clusters: before.job_clusters },
      continuous: { pause_status: "UNPAUSED" },
    });
    await until("the former runs", () => states().at(-1) === "RUNNING");
    expect((await gateway().read("", outs)).props).toMatchObject({ drift: [] });
    expect(left().files.filter((path) => path.endsWith("/job.py"))).toHaveLength(1);
  }, 60_000);

  it("is seen when it ended, was paused, tells nothing, or was changed by hand; and mended", async () => {
    told({ kind: "running" });
    const outs = await created();
    const drift = async () => ((await gateway().read("", outs)).props as Properties).drift as string[];
    expect(await drift()).toEqual([]);
    const { job_id } = bench.workspace.jobs.named(name);
    const update = (new_settings: object) =>
      bench.workspace.jobs.answer(
        "POST",
        "/api/2.2/jobs/update",
        new URLSearchParams(),
        JSON.stringify({ job_id, new_settings }),
      );

    bench.workspace.jobs.paces.nextMs = 1_000_000;
    await bench.workspace.jobs.finish(name, { code: "CLOUD_FAILURE", message: "no such node here" });
    expect(await drift()).toEqual([
      expect.stringMatching(/has failed: its run \d+ has ended \(CLOUD_FAILURE\): no such/),
    ]);
    await update({ continuous: { pause_status: "PAUSED" } });
    expect(await drift()).toEqual(["the gateway isn't running"]);
    bench.workspace.jobs.paces.nextMs = 20;
    const stopped = (await gateway().read("", outs)).props as Properties;
    bench.made = (await gateway().update("", stopped, await checked({}, stopped))).outs;
    expect(await drift()).toEqual([]);

    const { job_clusters } = bench.workspace.jobs.named(name).settings;
    const [{ job_cluster_key, new_cluster }] = job_clusters ?? [];
    await update({ job_clusters: [{ job_cluster_key, new_cluster: { ...new_cluster, node_type_id: "huge" } }] });
    expect(await drift()).toEqual(["its job's node type is huge"]);

    const { run_id } = bench.workspace.jobs.active(name) ?? {};
    writeFileSync(report(), JSON.stringify({ run: "of another run" }));
    expect(await drift()).toContainEqual(expect.stringMatching(/its run tells nothing/));
    const old = { run: String(run_id), at: "2026-01-01T00:00:00.000Z", status: { state: { kind: "running" } } };
    writeFileSync(report(), JSON.stringify(old));
    expect(await drift()).toContainEqual(expect.stringMatching(/has told nothing since 2026-01-01/));
  }, 60_000);

  it("is one, whatever answers are lost, and leaves nothing then either", async () => {
    told({ kind: "running" });
    const paths = ["jobs/create", "jobs/reset", "jobs/update", "jobs/delete", "jobs/runs/cancel"];
    const lost = new Set(paths.map((path) => `POST /api/2.2/${path}`));
    bench.workspace.options.decide = ({ method, path }) =>
      lost.delete(`${method} ${path}`) ? { kind: "lost-response" } : null;
    const outs = await created();
    expect(left().jobs).toEqual([name]);
    expect(bench.workspace.jobs.named(name).settings.description).toBe(describeProcess(directory, null));
    await gateway().delete("", outs);
    bench.made = null;
    expect(left()).toEqual(nothing);
    expect(lost.size).toBe(0);
  }, 60_000);

  longTest(
    "goes over to an app and back, which is another target, and leaves nothing",
    async () => {
      const lifecycle = gatewayLifecycle((input) =>
        (input as { job?: object }).job === undefined
          ? databricksDeployment(databricksOptionsSchema.parse(input), { lookMs: 20 })
          : deploymentOf(input),
      );
      const first = await created();
      const asApp = { ...target(), job: undefined };
      bench.made = (await lifecycle.update("", first, await checked({ deployment: asApp }, first, lifecycle))).outs;
      expect([left().jobs, [...bench.workspace.apps.apps.keys()]]).toEqual([[], [name]]);
      bench.made = (await lifecycle.update("", bench.made, await checked({}, bench.made, lifecycle))).outs;
      expect([left().jobs, [...bench.workspace.apps.apps.keys()]]).toEqual([[name], []]);
      expect(JSON.stringify(await deploymentOf(target()).status(directory))).toContain('"snapshots":1');
      await gateway().delete("", bench.made);
      bench.made = null;
      expect(left()).toEqual(nothing);
    },
    120_000,
  );

  it("of another is neither taken nor removed, and one of a create that was killed is swept", async () => {
    const make = (name: string, description: string) =>
      bench.workspace.jobs.answer(
        ...(["POST", "/api/2.2/jobs/create", new URLSearchParams()] as const),
        JSON.stringify({ name, description, continuous: { pause_status: "PAUSED" } }),
      );
    await make(name, "theirs");
    const { failures } = await gateway().check({}, news());
    expect(failures).toMatchObject([
      { reason: expect.stringMatching(/the job sluice-slot-a-gateway exists and isn't/) },
    ]);
    await deploymentOf(target()).remove(directory, 1_000);
    expect(await deploymentOf(target()).inspect(directory)).toEqual({ kind: "foreign", what: `the job ${name}` });

    const tether = JSON.stringify({ host: hostname(), pid: process.pid, startTime: "0" });
    for (const each of [`${stateDir}/a/gateway`, "/elsewhere/b/gateway"]) {
      bench.workspace.apps.files.set(`/Workspace/Shared/sluice/${processName(each)}/1/job.py`, Buffer.from(""));
      await make(processName(each), describeProcess(each, tether));
    }
    await deploymentOf(target()).sweep(stateDir, 1_000);
    expect(left().jobs).toEqual([name, "sluice-b-gateway"]);
    expect(left().files).toEqual(["/Workspace/Shared/sluice/sluice-b-gateway/1/job.py"]);
  });
});

describe.skipIf(!hasPython())("the task's file, run by Python,", () => {
  /** @param main the runtime's stand-in */
  function start(main: string) {
    const folder = mkdtempSync(join(tmpdir(), "sluice-task-"));
    writeFileSync(join(folder, "main.js"), main);
    const file = readFileSync(resolve(__dirname, "../../../provider/deploy/databricks_job.py"), "utf8");
    writeFileSync(join(folder, "job.py"), `job = ${JSON.stringify('{"a":"\\"\\u00e9\\n"}')}\n${file}`);
    const args = [join(folder, "job.py"), process.execPath, join(folder, "main.js"), "17"];
    const child = spawn("python3", args, { env: { PATH: process.env.PATH, TMPDIR: folder }, stdio: "pipe" });
    const said = { out: "", error: "" };
    child.stdout.on("data", (chunk) => (said.out += chunk));
    child.stderr.on("data", (chunk) => (said.error += chunk));
    const ended = new Promise<number | null>((done) => child.once("close", done));
    return { child, said, ended: ended.finally(() => rmSync(folder, { recursive: true })) };
  }

  it("hands on what it has, and a signal, and ends as the process does", async () => {
    const main = `
      const [command, , path] = process.argv.slice(2);
      process.on("SIGTERM", () => process.exit(0));
      console.log(JSON.stringify([command, process.env.SLUICE_JOB_RUN, JSON.parse(require("fs").readFileSync(path, "utf8"))]));
      setInterval(() => {}, 1000);`;
    for (const signal of ["SIGTERM", "SIGINT"] as const) {
      const { child, said, ended } = start(main);
      await until("it runs", () => said.out.endsWith("\n"));
      expect(JSON.parse(said.out)).toEqual(["job", "17", { a: '"é\n' }]);
      child.kill(signal);
      expect(await ended).toBe(0);
    }
    const { said, ended } = start("process.exit(64)");
    expect(await ended).toBe(1);
    expect(said.error).toContain("the process ended with 64");
  }, 60_000);
});

describe("is refused, with what helps:", () => {
  const applier = { role: "applier", destination: { kind: "databricks" }, trigger: { kind: "continuous" } };
  it.each([
    ["staging in a folder", { staging: undefined }, /a job keeps no files: its staging/],
    ["a source on this machine", { source: { host: "localhost" } }, /is the job itself, in a job/],
    [
      "tables in a folder",
      { ...applier, destination: { kind: "local", path: "/lake" } },
      /a job keeps no files: it can't/,
    ],
    ["a run that ends", { ...applier, trigger: { kind: "once" } }, /a job runs for good/],
    ["a port", { http: { port: 9000 } }, /nobody reaches a port/],
    ["a profile", { staging: { kind: "volume", workspace: { profile: "x" } } }, /a job has no \.databrickscfg/],
  ])("%s", (_, config, message) => expect(processProblem(spec(config), "job")?.message).toMatch(message));

  it.each([
    ["m6i.small", /the workspace has no node type m6i.small/],
    ["m6g.large", /m6g.large is of ARM, which takes no image/],
  ])("the machine %s", async (nodeTypeId, reason) => {
    const { failures } = await gateway().check({}, news({ deployment: target({ job: job({ nodeTypeId }) }) }));
    expect(failures).toMatchObject([{ property: "deployment", reason: expect.stringMatching(reason) }]);
  });

  it("an app's size, a runtime without images, and fields of the cluster that are set otherwise", () => {
    expect(() => databricksOptionsSchema.parse(target({ computeSize: "LARGE" }))).toThrow(/computeSize is of apps/);
    const sparkVersion = "16.4.x-cpu-ml-scala2.13";
    expect(() => databricksOptionsSchema.parse(target({ job: job({ sparkVersion }) }))).toThrow(
      /neither an ML runtime/,
    );
    const cluster = { num_workers: 3 };
    expect(() => databricksOptionsSchema.parse(target({ job: job({ cluster }) }))).toThrow(/are set otherwise/);
  });
});

describe("what a job is made of", () => {
  const options = (more: object = {}) => {
    const parsed = databricksOptionsSchema.parse(target({ job: job(more) }));
    if (parsed.job === undefined) throw new Error("no job");
    return { ...parsed, job: parsed.job };
  };

  it("is one node of the image, with references to secrets alone, and the runtime's places in ours by default", () => {
    const more = {
      ...{ nodePath: undefined, runtimePath: undefined, policyId: "P1" },
      login: { scope: "registry", usernameKey: "user", passwordKey: "token" },
      cluster: { aws_attributes: { availability: "ON_DEMAND" }, spark_conf: { a: "b" } },
    };
    const secrets = [{ variable: "SLUICE_SECRET_A", scope: "shop", key: "A" }];
    expect(jobSettings(options(more), directory, "/Workspace/x", secrets, null)).toMatchObject({
      ...{ name, max_concurrent_runs: 1, continuous: { pause_status: "PAUSED" } },
      job_clusters: [
        {
          new_cluster: {
            ...{ num_workers: 0, data_security_mode: "SINGLE_USER", policy_id: "P1" },
            ...{ aws_attributes: { availability: "ON_DEMAND" }, custom_tags: { ResourceClass: "SingleNode" } },
            spark_conf: { a: "b", "spark.databricks.cluster.profile": "singleNode", "spark.master": "local[*]" },
            docker_image: {
              url: image,
              basic_auth: { username: "{{secrets/registry/user}}", password: "{{secrets/registry/token}}" },
            },
            spark_env_vars: { SLUICE_SECRET_A: "{{secrets/shop/A}}" },
          },
        },
      ],
      tasks: [
        {
          spark_python_task: {
            ...{ python_file: "/Workspace/x/job.py", source: "WORKSPACE" },
            parameters: ["/usr/local/bin/node", "/sluice/main.js", "{{job.run_id}}"],
          },
        },
      ],
    });
  });

  it("is another deployment with another machine, and the same otherwise", () => {
    const digestOf = (more: object) => jobSource(options(more), spec(), 100).digest;
    expect(digestOf({})).toBe(digestOf({}));
    expect(digestOf({ nodeTypeId: "m6i.xlarge" })).not.toBe(digestOf({}));
  });

  it("stages where apps do, and is another process", () => {
    const app = { kind: "databricks", workspace: settings(), folder: "/Workspace/Shared/sluice" };
    expect(stagingPlaceOf(app)).toBe(stagingPlaceOf(options()));
    expect(engineOf(app)).not.toBe(engineOf(options()));
  });
});
