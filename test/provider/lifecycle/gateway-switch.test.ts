// Contract: a gateway that takes over from another one is waited for until every table is copied and all that was written
// until then is staged, with its progress printed. One that doesn't catch up in time, or fails, is recorded as half-made with
// the remedy, goes on, and the next update waits for it again; its delete is that of any other.
// Invariant 5 (after delete no process of ours remains).
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from "vitest";
import type { Deployment, Inspection, ProcessSpec } from "../../../provider/deploy/deployment";
import { localDeployment } from "../../../provider/deploy/local";
import { gatewayLifecycle } from "../../../provider/lifecycle/gateway";
import { switchProgress } from "../../../provider/lifecycle/gateway-switch";
import { PartialFailure, type Properties } from "../../../provider/lifecycle/lifecycle";
import { rememberOwn } from "../../../provider/lifecycle/own-names";
import type { GatewayStatus, GatewayTableState } from "../../../runtime/status";
import { startPostgres, type TestPostgres } from "../../support/postgres-server";

let server: TestPostgres;
let folder: string;
const said: string[] = [];

beforeAll(async () => {
  server = await startPostgres();
});
afterAll(async () => {
  await server?.stop();
});
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "sluice-switch-"));
  said.length = 0;
  vi.spyOn(console, "log").mockImplementation((line: string) => void said.push(line));
});
afterEach(() => {
  vi.restoreAllMocks();
  rmSync(folder, { recursive: true, force: true });
});

const snapshot = (rows: number): GatewayTableState => ({
  kind: "snapshot",
  rows,
  bytes: 0,
  rowsEstimate: 100,
  startedAt: "",
  rangesDone: 0,
  ranges: 1,
  secondsLeft: null,
});

function status(states: GatewayTableState[], stagedLsn = "0/0", acknowledgedLsn = "0/0"): GatewayStatus {
  const tables = states.map((state, index) => ({ name: `t${index}`, state, snapshotRows: 40 }));
  return { role: "gateway", slot: {}, tables, stagedLsn, acknowledgedLsn } as unknown as GatewayStatus;
}

describe("how far it is", () => {
  const streaming: GatewayTableState = { kind: "streaming" };
  const failed: GatewayTableState = { kind: "failed", message: "" };
  it("is told by tables and rows while it copies", () => {
    expect(switchProgress(status([streaming, snapshot(10), { kind: "pending" }]), null)).toEqual({
      ...{ kind: "copying", done: 1, tables: 3 },
      ...{ rows: 40 + 10 + 40, rowsEstimate: 40 + 100 + 40 },
    });
    expect(switchProgress(status([]), null).kind).toBe("copying");
    expect(switchProgress({ ...status([streaming]), slot: null }, null).kind).toBe("copying");
  });

  it("is caught up when what was written by the end of the copies is staged, or known to be nothing", () => {
    const kind = (one: GatewayStatus, target: bigint | null) =>
      switchProgress(one, target as Parameters<typeof switchProgress>[1]).kind;
    // A table that can't be copied holds up none of the others.
    expect(kind(status([streaming, failed]), null)).toBe("catching-up");
    expect(kind(status([streaming], "0/9", "0/F"), 0x10n)).toBe("catching-up");
    expect(kind(status([streaming], "0/10", "0/9"), 0x10n)).toBe("caught-up");
    expect(kind(status([streaming], "0/9", "0/10"), 0x10n)).toBe("caught-up");
  });
});

describe("one that takes over", () => {
  let told: GatewayStatus | null;
  let found: Inspection;
  let applied: string[];
  const deployment: Deployment = {
    ...localDeployment(),
    async apply({ directory }: ProcessSpec) {
      applied.push(directory);
      return {};
    },
    keep: async () => {},
    inspect: async () => (applied.length === 0 ? { kind: "absent" } : found),
    status: async () => told,
    remove: async () => void applied.push("removed"),
    sweep: async () => {},
  };
  const gateway = gatewayLifecycle(() => deployment);
  const running: Inspection = { kind: "running", configuration: "{}" };

  beforeEach(() => {
    told = null;
    found = running;
    applied = [];
  });

  async function checked(more: Properties = {}, olds: Properties = {}): Promise<Properties> {
    rememberOwn("switch", "next");
    const { inputs, failures } = await gateway.check(olds, {
      source: server.source(),
      ...{ publicationName: "pub", slotName: "slot", slotIncarnation: "next", deploymentId: "next" },
      ...{ stateDir: join(folder, "state"), preflight: "up", switchTimeoutMs: 1_000, ...more },
    });
    expect(failures).toEqual([]);
    return inputs;
  }

  async function halfMade(work: Promise<unknown>): Promise<PartialFailure> {
    const failure = await work.then(
      () => null,
      (error: unknown) => error,
    );
    expect(failure).toBeInstanceOf(PartialFailure);
    expect((failure as PartialFailure).outs).toMatchObject({ deploymentId: "next", hasTakenOver: false });
    return failure as PartialFailure;
  }

  it("and is late is recorded as half-made, and waited for again by the next update", async () => {
    told = status([snapshot(10)]);
    const inputs = await checked();
    const late = await halfMade(gateway.create(inputs));
    expect(late.describe()).toMatch(
      /next has not caught up within 1000 ms: 0 of 1 tables are copied, 10 rows of about 100\. .*former gateway goes on[\s\S]*remedy: .*pulumi up again.*switchTimeoutMs/,
    );
    expect(said.join("\n")).toContain("gateway next: 0 of 1 tables are copied, 10 rows of about 100");

    const again = await checked({}, { ...inputs, ...late.outs });
    const later = await halfMade(gateway.update("next", late.outs, again));
    told = status([{ kind: "streaming" }], "FFFFFFFF/0");
    const { outs } = await gateway.update("next", later.outs, again);
    expect(outs.hasTakenOver).toBe(true);
    expect(said.at(-1)).toContain("it has caught up: the pipeline is switched to it");
    // Once it has, nothing is waited for any more.
    told = null;
    expect((await gateway.update("next", outs, again)).outs.hasTakenOver).toBe(true);
    await gateway.delete("next", outs);
    expect(applied.at(-1)).toBe("removed");
  });

  it("and fails says why, by its own remedy or its log's place", async () => {
    found = { ...running, kind: "failed", message: "the disk is full", remedy: "Make room." };
    const failed = await halfMade(gateway.create(await checked()));
    expect(failed.describe()).toMatch(/can't take over: the disk is full\n {2}remedy: Make room\./);
    found = { kind: "absent" };
    applied = [];
    const gone = await halfMade(gateway.create(await checked()));
    expect(gone.describe()).toMatch(/its folder \S+ is gone\n {2}remedy: Correct what the gateway's log/);
  });
});
