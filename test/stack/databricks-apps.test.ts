// Contract: a stack whose gateway and applier are Databricks Apps is made, goes on through deployments of both (also where a
// deployment's process begins before the former has ended) and the loss of either's machine with its disk, without a change lost
// or applied twice; destroy leaves no app, secret scope, source, staging, slot or publication.
// Invariants 3 (exactly once), 4 (the destination equals the source), 5 (nothing of ours remains), 6 (no secret leaves its place).
import { existsSync } from "node:fs";
import { afterAll, beforeAll, expect } from "vitest";
import type { DatabricksWorkspace } from "../support/databricks-workspace";
import { longTest } from "../support/long-test";
import { publicationNames, slotNames } from "./ingestion-stack";
import { changedResources, ok } from "./operation-outcome";
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

const lose = (role: string) => stack.workspace.apps.lose(nameOf(stack.workspace, role));

longTest(
  "is made, and no secret is in a source of an app, its log or the state",
  async () => {
    ok(await (await stack.open()).up());
    expect(stack.workspace.apps.apps.size).toBe(2);
    await stack.caughtUp();
    await stack.holds();
    stack.keepsSecrets();
    expect(changedResources(ok(await (await stack.open()).preview()))).toEqual([]);
  },
  600_000,
);

longTest(
  "goes on through deployments and lost machines",
  async () => {
    const { apps } = stack.workspace;
    stack.startWriting();
    await stack.goesOn();
    // Each half on a machine of its own, whose disk goes with it: what the gateway hadn't staged, and what the applier was at.
    await lose("gateway");
    await stack.goesOn();
    await stack.losesAmidStatement(() => lose("applier"));
    await stack.goesOn();
    apps.isOverlapping = true;
    const both = { gateway: { batch: { ageMsMax: 250 } }, trigger: { intervalMs: 150 } };
    const changed = changedResources(ok(await (await stack.open(both)).up()));
    expect(changed).toEqual(["update Gateway", "update IngestionPipeline"]);
    await stack.goesOn();
    apps.isOverlapping = false;
    const again = { ...both, gateway: { batch: { ageMsMax: 300 } } };
    expect(changedResources(ok(await (await stack.open(again)).up()))).toEqual(["update Gateway"]);
    await stack.goesOn();
    expect(changedResources(ok(await (await stack.open(again)).refresh()))).toEqual([]);
    expect(await stack.stopWriting()).toBeGreaterThan(100);
    await stack.caughtUp();
    await stack.holds();
    expect(stack.snapshots).toBe(1);
    if (!stack.warehouse.hasRows) expect(stack.warehouse.effects("item").length).toBeGreaterThan(10);
    // Those that were told to end did, within the platform's time.
    expect([...apps.apps.values()].map(({ kills }) => kills)).toEqual([0, 0]);
  },
  1_200_000,
);

longTest(
  "is destroyed, and leaves nothing",
  async () => {
    ok(await (await stack.open()).destroy());
    const { apps } = stack.workspace;
    expect(apps.apps.size).toBe(0);
    expect(apps.files.size).toBe(0);
    expect(apps.scopes.size).toBe(0);
    expect(existsSync(stack.staging)).toBe(false);
    expect(await slotNames(stack.client)).toEqual([]);
    expect(await publicationNames(stack.client)).toEqual([]);
  },
  600_000,
);
