// Contract: gateway and applier of an earlier version (SLUICE_TEST_EARLIER: checkouts with dist/runtime, after colons) are
// upgraded one by one, in either order, killed or stopped, and go back to one that knows the forms of now, with no table copied again; where the newer gateway
// stages what an earlier applier doesn't know, that applier stops and says so, and the upgraded one goes on from where it was.
// Invariants 3 (each change exactly once) and 4 (the destination equals the source).
import { basename, join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import type { GatewayInput } from "../support/gateway-under-test";
import { Pipeline } from "../support/pipeline";
import { startPostgres, type TestPostgres } from "../support/postgres-server";
import { upgradeChanges, upgradeSetup, upgradeTables } from "./upgrade-source";

const earlier = (process.env.SLUICE_TEST_EARLIER ?? "").split(":").filter((folder) => folder !== "");
let postgres: TestPostgres;
let pipeline: Pipeline;

beforeAll(async () => {
  postgres = await startPostgres();
});
afterAll(() => postgres?.stop());
afterEach(() => pipeline?.close());

it("there are earlier versions", () => expect(earlier.length).toBeGreaterThan(0));

describe.each(earlier.map((folder) => [basename(folder), join(folder, "dist", "runtime", "main.js")]))(
  "from %s",
  (_, earlierPath) => {
    /** It knows neither elements of arrays nor rows before updates: nobody goes back to it. */
    const isFirst = earlierPath.includes("f9ca12f");

    async function begin(config: Partial<GatewayInput> = {}): Promise<{ now: string }> {
      pipeline = await Pipeline.open(postgres, upgradeSetup.join(";"), config);
      const now = pipeline.gateway.mainPath;
      for (const one of [pipeline.gateway, pipeline.applier]) one.mainPath = earlierPath;
      pipeline.start();
      await holds(0);
      return { now };
    }

    /**
     * Changes of one part reach the destination, and no table was copied a second time, but for one whose columns change
     * behind a TRUNCATE, which is another table to a gateway that wasn't there.
     */
    async function holds(part: number): Promise<void> {
      if (part > 0) for (const sql of upgradeChanges(part)) await pipeline.client.query(sql);
      const { tables } = await pipeline.settled();
      for (const table of upgradeTables) expect(await pipeline.differences(table), table).toEqual([]);
      const copied = tables.filter(({ name }) => name !== "scratch").map(({ name, snapshots }) => [name, snapshots]);
      expect(copied.sort()).toEqual([
        ["entry", 1],
        ["item", 1],
      ]);
    }

    type Role = "gateway" | "applier";
    async function change(role: Role, mainPath: string, end: "stop" | "kill"): Promise<void> {
      const one = pipeline[role];
      await one[end]();
      one.mainPath = mainPath;
      // What is written while it is down comes all the same.
      await pipeline.client.query("INSERT INTO entry VALUES ('meanwhile', NULL, NULL)");
      one.start();
    }

    it.each([
      ["gateway", "applier"],
      ["applier", "gateway"],
    ] as [Role, Role][])("the %s first, and back where that is possible", async (first, second) => {
      const { now } = await begin();
      await change(first, now, "stop");
      await holds(1);
      await change(second, now, "kill");
      await holds(2);
      if (isFirst) return;
      await change(first, earlierPath, "kill");
      await holds(3);
      await change(second, earlierPath, "stop");
      await holds(4);
    });

    it("an applier that doesn't know what the newer gateway stages waits with its position for its upgrade", async () => {
      const { now } = await begin();
      const { gateway, applier } = pipeline;
      await gateway.stop();
      gateway.mainPath = now;
      (gateway.config as GatewayInput).beforeImages = [{ schema: "public", name: "scratch" }];
      await pipeline.client.query("ALTER TABLE scratch REPLICA IDENTITY FULL");
      gateway.start();
      await pipeline.client.query("UPDATE scratch SET note = 'with the row before'");
      for (const sql of upgradeChanges(1)) await pipeline.client.query(sql);
      if (isFirst) {
        expect((await applier.exited()).code).not.toBe(0);
        expect(applier.status()?.state).toMatchObject({ kind: "failed", errorKind: "staging" });
        applier.mainPath = now;
        applier.start();
      }
      await pipeline.settled();
      for (const table of upgradeTables) expect(await pipeline.differences(table), table).toEqual([]);
    });
  },
);
