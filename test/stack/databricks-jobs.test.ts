// Contract: a stack whose gateway and applier are jobs with an image is made, goes on through changes of both and the loss of either's
// machine with its disk, without a change lost or applied twice; destroy leaves no job, run, report, secret scope, source, staging,
// slot or publication. Invariants 3 (exactly once), 4 (the destination equals the source), 5 (nothing of ours remains), 6 (no
// secret leaves its place). The task's file is run by Python, and without that the tests are skipped.
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { hasPython } from "../support/databricks-jobs";
import type { DatabricksWorkspace } from "../support/databricks-workspace";
import { longTest } from "../support/long-test";
import { publicationNames, slotNames } from "./ingestion-stack";
import { changedResources, ok } from "./operation-outcome";
import { inVolume, type Platform, WorkspaceStack } from "./workspace-stack";

const image = "registry.example/sluice-job:1";
const jobTest = hasPython() ? longTest : it.skip;
let stack: WorkspaceStack;

beforeAll(async () => {
  stack = await WorkspaceStack.start("jobs", jobsOf);
  Object.assign(stack.workspace.jobs, { runner: "python", images: new Set([image]) });
}, 400_000);

afterAll(() => stack?.close(), 60_000);

const named = ({ jobs }: DatabricksWorkspace, role: string) =>
  [...jobs.jobs.values()].find(({ settings }) => settings.name?.endsWith(`-${role}`));

const runsOf = ({ jobs }: DatabricksWorkspace) => [...jobs.jobs.values()].flatMap(({ runs }) => runs);

const jobsOf = (workspace: DatabricksWorkspace): Platform => ({
  deployment: {
    job: {
      ...{ image, sparkVersion: "16.4.x-scala2.13", nodeTypeId: "m6i.large", nodePath: process.execPath },
      runtimePath: resolve("dist/runtime/main.js"),
    },
  },
  // On the machine itself, where it is newer than in the volume.
  statusText: async (role) => {
    const run = named(workspace, role)?.runs.find(({ state }) => state === "RUNNING");
    try {
      const folder = readdirSync(run?.place ?? "").find((name) => name.startsWith("sluice-job-")) ?? "";
      return readFileSync(join(run?.place ?? "", folder, "status.json"), "utf8");
    } catch {
      return null;
    }
  },
  logs: () => runsOf(workspace).map(({ log, settings }) => log + JSON.stringify(settings)),
});

const lose = (role: string) => stack.workspace.jobs.lose(named(stack.workspace, role)?.settings.name ?? role);

jobTest(
  "is made, and no secret is in a job, its source or output, or the state",
  async () => {
    ok(await (await stack.open()).up());
    expect(stack.workspace.jobs.jobs.size).toBe(2);
    await stack.caughtUp();
    await stack.holds();
    stack.keepsSecrets();
    expect(changedResources(ok(await (await stack.open()).preview()))).toEqual([]);
  },
  600_000,
);

jobTest(
  "goes on through changes and lost machines",
  async () => {
    stack.startWriting();
    await stack.goesOn();
    // Each half on a machine of its own, whose disk goes with it: what the gateway hadn't staged, and what the applier was at.
    await lose("gateway");
    await stack.goesOn();
    await stack.losesAmidStatement(() => lose("applier"));
    await stack.goesOn();
    const both = { gateway: { batch: { ageMsMax: 250 } }, trigger: { intervalMs: 150 } };
    const changed = changedResources(ok(await (await stack.open(both)).up()));
    expect(changed).toEqual(["update Gateway", "update IngestionPipeline"]);
    await stack.goesOn();
    expect(changedResources(ok(await (await stack.open(both)).refresh()))).toEqual([]);
    expect(await stack.stopWriting()).toBeGreaterThan(100);
    await stack.caughtUp();
    await stack.holds();
    expect(stack.snapshots).toBe(1);
    if (!stack.warehouse.hasRows) expect(stack.warehouse.effects("item").length).toBeGreaterThan(10);
    // One run after another; those that were told to end did, within the platform's time.
    for (const { runs } of stack.workspace.jobs.jobs.values()) {
      expect(runs.map(({ state }) => state)).toEqual(["TERMINATED", "TERMINATED", "RUNNING"]);
      expect(runs.map(({ end }) => end?.code)).toEqual(["CLUSTER_ERROR", "USER_CANCELED", undefined]);
    }
    expect(runsOf(stack.workspace).filter(({ killed }) => killed)).toEqual([]);
  },
  1_200_000,
);

jobTest(
  "is destroyed, and leaves nothing",
  async () => {
    const runs = runsOf(stack.workspace);
    ok(await (await stack.open()).destroy());
    const { apps, jobs, files } = stack.workspace;
    expect(jobs.jobs.size).toBe(0);
    expect(runs.filter(({ state }) => state !== "TERMINATED")).toEqual([]);
    expect(apps.files.size).toBe(0);
    expect(apps.scopes.size).toBe(0);
    expect(readdirSync(files.local(inVolume))).toEqual([]);
    expect(existsSync(stack.staging)).toBe(false);
    expect(await slotNames(stack.client)).toEqual([]);
    expect(await publicationNames(stack.client)).toEqual([]);
  },
  600_000,
);
