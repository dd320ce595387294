// Contract: with the publication on the primary and the slot on a standby, connection, publication and slot are made and
// removed in order, and each says what stands against it, with the remedy: a standby that isn't asked for, an old
// version, a publication on a standby, a slot that waits for the primary's record. Invariant 5: no slot remains.
import type pg from "pg";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { connection } from "../../../provider/lifecycle/connection";
import type { Properties } from "../../../provider/lifecycle/lifecycle";
import { newPipelineId } from "../../../provider/lifecycle/names";
import { publication } from "../../../provider/lifecycle/publication";
import { replicationSlot } from "../../../provider/lifecycle/replication-slot";
import { startPostgres, type TestPostgres } from "../../support/postgres-server";
import { startStandby, type TestStandby } from "../../support/postgres-standby";

let primary: TestPostgres;
let standby: TestStandby;
let client: pg.Client;
let version = 0;

beforeAll(async () => {
  primary = await startPostgres();
  client = await primary.client();
  version = Number((await client.query("SHOW server_version_num")).rows[0].server_version_num);
  await client.query("CREATE TABLE t (id int PRIMARY KEY)");
  standby = await startStandby(primary);
});
afterAll(async () => {
  await client?.end();
  await standby?.stop();
  await primary?.stop();
});

const allowed = (): Properties => ({ ...standby.source(), standby: "allow" });
const reasons = async (inputs: Properties) => (await connection.check({}, inputs)).failures;

async function makeSlot(more: Properties = {}) {
  const slot = { source: allowed(), publicationName: "pub", pipelineId: newPipelineId(), ...more };
  const { inputs, failures } = await replicationSlot.check({}, slot);
  expect(failures).toEqual([]);
  return replicationSlot.create(inputs);
}

describe("a standby as source", () => {
  it("is refused unless it is asked for, and in old versions", async () => {
    const [refused] = await reasons(standby.source() as unknown as Properties);
    expect(refused.reason).toMatch(version < 160_000 ? /decodes on a primary only/ : /standby: "allow"/);
    if (version < 160_000) {
      expect((await reasons(allowed()))[0].reason).toMatch(/PostgreSQL 16 or newer/);
      return;
    }
    expect(await reasons(allowed())).toEqual([]);
    const made = await connection.create((await connection.check({}, allowed())).inputs);
    expect(made.outs.source).toMatchObject({ standby: "allow" });
    const conflict = await reasons({ ...allowed(), failoverHosts: [{ host: "other" }] });
    expect(conflict[0].reason).toContain("excludes failoverHosts");
  });

  it("has no publication made on it", async ({ skip }) => {
    if (version < 160_000) skip("PostgreSQL 16 decodes on a standby");
    const { failures } = await publication.check({}, { source: allowed(), tables: ["public.t"] });
    expect(failures[0].reason).toContain("a publication is made on the primary");
  });

  it("has a slot made on it once the primary has written its record, for a publication that it replays", async ({
    skip,
  }) => {
    if (version < 160_000) skip("PostgreSQL 16 decodes on a standby");
    await client.query("CREATE PUBLICATION pub FOR TABLE t");
    const recording = setInterval(() => void client.query("SELECT pg_log_standby_snapshot()"), 200);
    const made = await makeSlot().finally(() => clearInterval(recording));
    const reader = await standby.client();
    const slots = async () => (await reader.query("SELECT slot_name AS name FROM pg_replication_slots")).rows;
    expect(await slots()).toEqual([{ name: made.id }]);
    expect((await replicationSlot.read(made.id, made.outs)).id).toBe(made.id);
    await replicationSlot.delete(made.id, made.outs);
    expect(await slots()).toEqual([]);

    // An open transaction of the primary holds it up: it says so, and nothing is left.
    const writer = await primary.client();
    await writer.query("BEGIN; INSERT INTO t VALUES (1)");
    await client.query("SELECT pg_log_standby_snapshot()");
    await expect(makeSlot({ createTimeoutMs: 1_500 })).rejects.toMatchObject({
      kind: "timeout",
      remedy: expect.stringContaining("SELECT pg_log_standby_snapshot() on the primary"),
    });
    expect(await slots()).toEqual([]);
    await writer.end();
    await reader.end();
  });
});
