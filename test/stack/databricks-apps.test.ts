// Contract: a stack whose gateway and applier are Databricks Apps is made, goes on through deployments of both (also where a
// deployment's process begins before the former has ended) and the loss of either's machine with its disk, without a change lost
// or applied twice; destroy leaves no app, secret scope, source, staging, slot or publication.
// Invariants 3 (exactly once), 4 (the destination equals the source), 5 (nothing of ours remains), 6 (no secret leaves its place).
import { afterAll, beforeAll, expect } from "vitest";
import type { DatabricksWorkspace } from "../support/databricks-workspace";
import { longTest } from "../support/long-test";
import { type Platform, WorkspaceStack } from "./workspace-stack";

let stack: WorkspaceStack;

beforeAll(async () => {
  stack = await WorkspaceStack.start("apps", appsOf);
}, 400_000);

afterAll(() => stack?.close(), 60_000);

const nameOf = ({ apps }: DatabricksWorkspace, role: string) =>
  [...apps.apps.keys()].find((name) => name.endsWith(`-${role}`)) ?? role;

const appsOf = (workspace: DatabricksWorkspace): Platform => ({
  deployment: {},
  statusText: async (role) => {
    const port = workspace.apps.apps.get(nameOf(workspace, role))?.run?.port;
    if (port === undefined) return null;
    const answer = await fetch(`http://127.0.0.1:${port}/api/status`).catch(() => null);
    return answer?.ok === true ? answer.text() : null;
  },
  logs: () => [...workspace.apps.apps.values()].map(({ log }) => log),
});

longTest(
  "is made, and no secret is in a source of an app, its log or the state",
  async () => {
    await stack.makes();
    expect(stack.workspace.apps.apps.size).toBe(2);
  },
  600_000,
);

longTest(
  "goes on through deployments and lost machines",
  async () => {
    const { apps } = stack.workspace;
    await stack.losesMachines((role) => apps.lose(nameOf(stack.workspace, role)));
    apps.isOverlapping = true;
    const both = { gateway: { batch: { ageMsMax: 250 } }, trigger: { intervalMs: 150 } };
    await stack.changes(both, ["update Gateway", "update IngestionPipeline"]);
    apps.isOverlapping = false;
    const again = { ...both, gateway: { batch: { ageMsMax: 300 } } };
    await stack.changes(again, ["update Gateway"]);
    await stack.cameThrough(again);
    // Those that were told to end did, within the platform's time.
    expect([...apps.apps.values()].map(({ kills }) => kills)).toEqual([0, 0]);
  },
  1_200_000,
);

longTest(
  "is destroyed, and leaves nothing",
  async () => {
    await stack.isDestroyed();
    expect(stack.workspace.apps.apps.size).toBe(0);
  },
  600_000,
);
