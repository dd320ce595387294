// Contract: random histories of small and large transactions on several sessions, with savepoints, rollbacks and
// releases, while tables are copied and the gateway is killed: staging, replayed, equals the source (invariants 1 to 4),
// and a row before an update is the row that was there.
// SLUICE_HISTORIES and SLUICE_SEED choose more, or again.
import { setTimeout as delay } from "node:timers/promises";
import type { Client } from "pg";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { until } from "../../support/conditions";
import { GatewayUnderTest } from "../../support/gateway-under-test";
import { startPostgres, type TestPostgres } from "../../support/postgres-server";
import { Random } from "../../support/random";
import { replayStaging } from "../../support/staging-replay";
import { testSeed } from "../../support/test-seed";

const histories = Number(process.env.SLUICE_HISTORIES ?? 1);
const firstSeed = testSeed;
const stepsMax = Number(process.env.SLUICE_HISTORY_STEPS ?? 160);
const sessionsMax = 3;

let postgres: TestPostgres;

beforeAll(async () => {
  postgres = await startPostgres({ settings: { logical_decoding_work_mem: "64kB" } });
});
afterAll(async () => {
  await postgres?.stop();
});

/** A session that writes rows of its own keys, so that none waits for another's lock. */
class Writer {
  private open = false;
  private savepoints = 0;
  private next: number;

  constructor(
    private readonly session: Client,
    private readonly random: Random,
    private readonly index: number,
  ) {
    this.next = index * 1_000_000;
  }

  async step(): Promise<void> {
    const { random, session } = this;
    if (!this.open) {
      await session.query("BEGIN");
      this.open = true;
      this.savepoints = 0;
      return;
    }
    const choice = random.between(0, 19);
    if (choice < 13) return this.write(random.choose(["item", "item", "second"]));
    if (choice < 15) {
      await session.query(`SAVEPOINT s${this.savepoints++}`);
      return;
    }
    if (choice < 18 && this.savepoints > 0) {
      // To any of those that are open: with it go the later ones.
      const target = random.between(0, this.savepoints - 1);
      const isRelease = random.between(0, 1) === 0;
      await session.query(`${isRelease ? "RELEASE" : "ROLLBACK TO"} s${target}`);
      this.savepoints = isRelease ? target : target + 1;
      return;
    }
    await this.end(random.between(0, 4) === 0 ? "ROLLBACK" : "COMMIT");
  }

  async end(command: "COMMIT" | "ROLLBACK"): Promise<void> {
    if (!this.open) return;
    await this.session.query(command);
    this.open = false;
  }

  private async write(table: string): Promise<void> {
    const { random, session } = this;
    const from = this.index * 1_000_000;
    const some = `id BETWEEN ${from} AND ${from + 999_999} AND id % ${random.between(2, 9)} = 0`;
    switch (random.between(0, 5)) {
      case 0:
      case 1:
      case 2: {
        const count = random.choose([1, 5, 300, 900]);
        await session.query(
          `INSERT INTO ${table} SELECT n, 'new ' || n FROM generate_series(${this.next}, ${this.next + count - 1}) n`,
        );
        this.next += count;
        return;
      }
      case 3:
        await session.query(`UPDATE ${table} SET name = left(name, 12) || ${random.between(0, 9)} WHERE ${some}`);
        return;
      case 4:
        await session.query(`UPDATE ${table} SET id = id + 500000 WHERE id < ${from + 500_000} AND ${some}`);
        return;
      default:
        await session.query(`DELETE FROM ${table} WHERE ${some}`);
    }
  }
}

async function expectEqual(gateway: GatewayUnderTest): Promise<void> {
  const replayed = await replayStaging(gateway.stagingPath);
  for (const table of ["item", "second"]) {
    const { rows } = await gateway.client.query(`SELECT id::text, name FROM ${table} ORDER BY ${table}.id`);
    const staged = [...(replayed.get(`public.${table}`)?.rows ?? [])].sort((a, b) => Number(a.id) - Number(b.id));
    expect(staged.map(({ id, name }) => `${id} ${name}`)).toEqual(rows.map(({ id, name }) => `${id} ${name}`));
  }
}

/** events of transactions that came before their end, and of files with rows before updates, over all histories */
let streamed = 0;
let withBeforeImages = 0;

describe("random histories of streamed transactions", () => {
  it.each(Array.from({ length: histories }, (_, index) => firstSeed + index))(
    "seed %i: nothing is lost and nothing comes twice",
    async (seed) => {
      const random = new Random(seed);
      const gateway = await GatewayUnderTest.create(postgres, {
        config: {
          batch: { ageMsMax: 50, rowsMax: random.choose([300, 1_000, 5_000]) },
          beforeImages: [{ schema: "public", name: "second" }],
        },
      });
      const { client, process } = gateway;
      const sessions: Client[] = [];
      try {
        await client.query(
          "CREATE TABLE second (id int PRIMARY KEY, name text); ALTER TABLE second REPLICA IDENTITY FULL",
        );
        await client.query("INSERT INTO second SELECT n, 'before' FROM generate_series(-2000, -1) n");
        for (let index = 1; index <= sessionsMax; index++) sessions.push(await gateway.session());
        const writers = sessions.map((session, index) => new Writer(session, random, index + 1));
        process.start();
        if (random.between(0, 1) === 0) await gateway.caughtUp();
        const published = random.between(10, stepsMax / 2);
        for (let step = 0; step < stepsMax; step++) {
          await random.choose(writers).step();
          if (step === published) await client.query("ALTER PUBLICATION p ADD TABLE second");
          if (random.between(0, 39) === 0) {
            await process.kill();
            process.start();
            if (random.between(0, 2) > 0) {
              await process.untilStatus("it streams again", ({ state }) => state.kind === "running");
            }
          }
          // So that blocks come while their transactions are open, and snapshots are taken among them.
          await delay(random.between(0, 50));
        }
        for (const writer of writers) await writer.end(random.between(0, 3) === 0 ? "ROLLBACK" : "COMMIT");
        await sessions[0].query(
          "BEGIN; INSERT INTO item SELECT n, 'last' FROM generate_series(9000001, 9004000) n; COMMIT",
        );
        await until("the second table is known", () => (process.status()?.tables.length ?? 0) === 2);
        await gateway.caughtUp();
        // Both are copied by now, so that rows before an update, and a large transaction, are staged whatever the history was.
        await sessions[0].query("UPDATE second SET name = 'changed' WHERE id > -100 AND id < 0");
        await sessions[0].query("INSERT INTO item SELECT n, 'large' FROM generate_series(9100001, 9104000) n");
        await gateway.caughtUp();
        await expectEqual(gateway);
        for (const { version, events } of gateway.records()) {
          const changes = events.filter((event) => event.kind === "changes");
          const images = changes.filter(({ files }) => files.some(({ beforeImages }) => beforeImages));
          streamed += changes.filter(({ transaction }) => transaction !== undefined).length;
          withBeforeImages += images.length;
          expect(version).toBe(images.length > 0 ? 2 : 1);
        }
      } finally {
        for (const session of sessions) await session.end();
        await gateway.close();
      }
    },
    120_000,
  );

  it("have had transactions that came before their end", () => {
    expect(streamed).toBeGreaterThan(0);
    expect(withBeforeImages).toBeGreaterThan(0);
  });
});
