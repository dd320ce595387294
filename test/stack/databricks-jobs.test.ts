// Contract: a stack whose gateway and applier are jobs with an image is made, goes on through changes of both and the loss of either's
// machine with its disk, without a change lost or applied twice; destroy leaves no job, run, report, secret scope, source, staging,
// slot or publication. Invariants 3 (exactly once), 4 (the destination equals the source), 5 (nothing of ours remains), 6 (no
// secret leaves its place). The task's file is run by Python, and without that the tests are skipped.
import { readdirSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { hasPython } from "../support/databricks-jobs";
import type { DatabricksWorkspace } from "../support/databricks-workspace";
import { longTest } from "../support/long-test";
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

jobTest(
  "is made, and no secret is in a job, its source or output, or the state",
  async () => {
    await stack.makes();
    expect(stack.workspace.jobs.jobs.size).toBe(2);
  },
  600_000,
);

jobTest(
  "goes on through changes and lost machines",
  async () => {
    const { workspace } = stack;
    await stack.losesMachines((role) => workspace.jobs.lose(named(workspace, role)?.settings.name ?? role));
    const both = { gateway: { batch: { ageMsMax: 250 } }, trigger: { intervalMs: 150 } };
    await stack.changes(both, ["update Gateway", "update IngestionPipeline"]);
    await stack.cameThrough(both);
    // One run after another; those that were told to end did, within the platform's time.
    for (const { runs } of workspace.jobs.jobs.values()) {
      expect(runs.map(({ state }) => state)).toEqual(["TERMINATED", "TERMINATED", "RUNNING"]);
      expect(runs.map(({ end }) => end?.code)).toEqual(["CLUSTER_ERROR", "USER_CANCELED", undefined]);
    }
    expect(runsOf(workspace).filter(({ killed }) => killed)).toEqual([]);
  },
  1_200_000,
);

jobTest(
  "is destroyed, and leaves nothing",
  async () => {
    const runs = runsOf(stack.workspace);
    await stack.isDestroyed();
    const { jobs, files } = stack.workspace;
    expect(jobs.jobs.size).toBe(0);
    expect(runs.filter(({ state }) => state !== "TERMINATED")).toEqual([]);
    expect(readdirSync(files.local(inVolume))).toEqual([]);
  },
  600_000,
);
