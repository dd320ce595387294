// Contract: a full disk stops the reading, loses nothing, acknowledges nothing that isn't staged (invariant 1), is told,
// and ends by itself when there is room.
import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, statfsSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { parseLsn } from "../../../runtime/postgres/lsn";
import { GatewayUnderTest } from "../../support/gateway-under-test";
import { startPostgres, type TestPostgres } from "../../support/postgres-server";

/** A file system of 48 MB, or why there is none. */
function smallDisk(): { path: string } | { skipped: string } {
  const path = mkdtempSync(join(tmpdir(), "sluice-small-disk-"));
  try {
    execFileSync("mount", ["-t", "tmpfs", "-o", "size=48m", "sluice-test", path], { stdio: "pipe" });
    return { path };
  } catch (error) {
    rmSync(path, { recursive: true });
    return { skipped: `a small disk can't be mounted here: ${(error as Error).message.split("\n")[0]}` };
  }
}

const disk = smallDisk();
let postgres: TestPostgres;
let gateway: GatewayUnderTest;

beforeAll(async () => {
  if ("path" in disk) postgres = await startPostgres();
});
afterAll(async () => {
  await postgres?.stop();
  if ("skipped" in disk) return;
  execFileSync("umount", [disk.path]);
  rmSync(disk.path, { recursive: true });
});
afterEach(() => gateway?.close());

/** Takes all the room but `leftBytes`. */
function fill(path: string, leftBytes: number): void {
  const { bavail, bsize } = statfsSync(path);
  writeFileSync(join(path, "filler"), Buffer.alloc(bavail * bsize - leftBytes));
}

describe.skipIf("skipped" in disk)(`a full disk${"skipped" in disk ? ` (skipped: ${disk.skipped})` : ""}`, () => {
  // With room for some records, but not for a data file.
  it("is waited for, and then everything arrives", async () => {
    const { path } = disk as { path: string };
    const stagingPath = join(path, "staging");
    mkdirSync(stagingPath);
    gateway = await GatewayUnderTest.create(postgres, {
      config: {
        stagingPath,
        batch: { ageMsMax: 50, bytesMax: 1024 * 1024 },
        stagingRetryMsMax: 1_000,
      },
    });
    const { client, process } = gateway;
    process.start();
    await gateway.caughtUp();
    await client.query("INSERT INTO item SELECT n, 'before' FROM generate_series(1, 100) n");
    await gateway.caughtUp();
    fill(path, 64 * 1024);
    // Small and large transactions: some that one record holds, one that needs several files.
    for (let batch = 1; batch <= 5; batch++) {
      await client.query(
        `INSERT INTO item SELECT n, (SELECT string_agg(md5(random()::text), '') FROM generate_series(1, 30) WHERE n > 0)
           FROM generate_series($1::int, $2::int) n`,
        [batch * 10_000, batch * 10_000 + (batch === 3 ? 3_000 : 100)],
      );
    }
    const { rows } = await client.query<{ lsn: string }>("SELECT pg_current_wal_flush_lsn()::text AS lsn");
    const waiting = await process.untilStatus("it waits", ({ state }) => state.kind === "waiting");
    expect(waiting.state).toMatchObject({ reason: expect.stringContaining("staging") });
    // Longer than transient errors are tried again.
    await new Promise((resolve) => setTimeout(resolve, 1_500));
    const later = await process.untilStatus("it still waits", ({ state }) => state.kind === "waiting");
    expect(parseLsn(later.acknowledgedLsn)).toBeLessThan(parseLsn(rows[0].lsn));
    expect(parseLsn((await gateway.slotRow()).confirmed_flush_lsn as string)).toBeLessThanOrEqual(
      parseLsn(later.acknowledgedLsn),
    );
    expect(gateway.logged("staging-full").length).toBeGreaterThan(0);
    rmSync(join(path, "filler"));
    await process.untilStatus("it runs again", ({ state }) => state.kind === "running");
    await gateway.caughtUp();
    const { staged, source } = await gateway.rows("item");
    expect(staged).toEqual(source);
    expect(await process.stop()).toEqual({ code: 0, signal: null });
    rmSync(stagingPath, { recursive: true });
  });
});
