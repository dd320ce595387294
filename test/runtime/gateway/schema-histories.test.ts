// Contract: whatever users do to tables and rows, in whatever transactions, and whatever of the gateway is killed when,
// the destination equals the source: column by column and row by row, read by an independent reader (invariants 3 and
// 4). Random histories; `SLUICE_HISTORIES` (default 1), `SLUICE_HISTORY_STEPS` (default 25) and `SLUICE_SEED` set how
// many, how long and which.
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { afterAll, beforeAll, expect, it } from "vitest";
import { installDdlCapture } from "../../../provider/postgres/ddl-capture-statements";
import { tablePath } from "../../../runtime/destination/table-path";
import type { ApplierStatus } from "../../../runtime/status";
import { openDelta } from "../../support/delta-reader";
import { compareTable, describeDifference } from "../../support/equality";
import { GatewayUnderTest } from "../../support/gateway-under-test";
import { startPostgres, type TestPostgres } from "../../support/postgres-server";
import { Random } from "../../support/random";
import { RuntimeProcess } from "../../support/runtime-process";
import { SchemaHistory } from "../../support/schema-history";
import { testSeed } from "../../support/test-seed";

const histories = Number(process.env.SLUICE_HISTORIES ?? 1);
const steps = Number(process.env.SLUICE_HISTORY_STEPS ?? 25);
const firstSeed = testSeed;

let postgres: TestPostgres;

beforeAll(async () => {
  postgres = await startPostgres({ settings: { logical_decoding_work_mem: "64kB" } });
});
afterAll(async () => {
  await postgres?.stop();
});

/** Waits until the condition holds, or gives up: a history goes on either way. */
async function mayWait(random: Random, gateway: GatewayUnderTest): Promise<void> {
  switch (random.between(0, 3)) {
    case 0:
      await pause(random.between(1, 300));
      return;
    case 1:
      if (gateway.process.alive) await gateway.caughtUp({ timeoutMs: 60_000 });
      return;
    default:
      return;
  }
}

async function differences(
  gateway: GatewayUnderTest,
  history: SchemaHistory,
  destination: string,
  arrays: "text" | "nested",
): Promise<string[]> {
  const found: string[] = [];
  for (const place of await history.places()) {
    const delta = await openDelta(tablePath(destination, place));
    const equality = await compareTable(gateway.client, place, delta, arrays);
    found.push(...equality.differences.map(describeDifference));
    if (!equality.equal && equality.differences.length === 0)
      found.push(`${place.name}: ${equality.differing} rows differ`);
  }
  return found;
}

it.each(Array.from({ length: histories }, (_, index) => firstSeed + index))(
  "history of seed %i",
  async (seed) => {
    const random = new Random(seed);
    const announced = seed % 2 === 0;
    const onRewrittenWidening = seed % 2 === 0 ? "follow" : "resnapshot";
    const arrays = seed % 4 < 2 ? "nested" : "text";
    const gateway = await GatewayUnderTest.create(postgres, {
      setup: "SELECT 1",
      config: { schemaChanges: { onRewrittenWidening }, types: { arrays } },
    });
    const session = await gateway.session();
    const history = new SchemaHistory(session, random, random.next() < 0.6);
    const destination = join(gateway.folder, "lake");
    const applier = new RuntimeProcess<ApplierStatus>(gateway.folder, {
      version: 1,
      role: "applier",
      id: `history_${seed}`,
      stagingPath: gateway.stagingPath,
      statusPath: join(gateway.folder, "applier-status.json"),
      destination: { kind: "local", path: destination },
      trigger: { kind: "once" },
    });
    const apply = async () => {
      applier.start();
      expect((await applier.exited(60_000)).code, applier.output.slice(-3_000)).toBe(0);
    };
    let kills = 0;
    const told = () => ({ seed, announced, kills, snapshots: gateway.snapshots() });
    const compare = async () => {
      if (!gateway.process.alive) gateway.process.start();
      const deadlineMs = Date.now() + 30_000;
      let found: string[];
      do {
        await gateway.caughtUp({ timeoutMs: 60_000 });
        await apply();
        found = await differences(gateway, history, destination, arrays);
        // What no row follows is seen at the next look at the catalog.
      } while (found.length > 0 && Date.now() < deadlineMs && (await pause(300, true)));
      const log = gateway.process.output.split("\n").filter((line) => /copied-again|followed/.test(line));
      expect(found, [JSON.stringify(told()), ...history.statements.slice(-400), ...log].join("\n")).toEqual([]);
    };
    try {
      await history.setUp();
      if (announced) for (const statement of installDdlCapture("p", "test")) await session.query(statement);
      gateway.process.start();
      await gateway.caughtUp();
      for (let step = 0; step < steps; step++) {
        await history.transaction();
        await mayWait(random, gateway);
        if (random.next() < 0.06) {
          await gateway.process.kill();
          kills++;
        }
        if (!gateway.process.alive && random.next() < 0.4) gateway.process.start();
        if (random.next() < 0.04) await apply();
        // Often: a copy that is taken later would hide what went wrong.
        if (random.next() < 0.12) await compare();
      }
      await compare();
      if (process.env.SLUICE_HISTORIES !== undefined) console.log(JSON.stringify(told()));
    } finally {
      await session.end().catch(() => {});
      await gateway.close();
    }
  },
  240_000,
);
