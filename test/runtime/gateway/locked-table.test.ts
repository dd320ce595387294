// Contract: who alters a table for an hour holds up that table alone. A gateway that is started meanwhile streams all
// others, copies new ones and looks at the publication as ever; the status names what is waited for; nothing is lost
// (invariants 3, 4). A table that has failed is told as such until a snapshot of it has begun, or an alert would flicker.
import { afterAll, beforeAll, expect, it, onTestFinished } from "vitest";
import { until } from "../../support/conditions";
import { GatewayUnderTest } from "../../support/gateway-under-test";
import { startPostgres, type TestPostgres } from "../../support/postgres-server";

let postgres: TestPostgres;
beforeAll(async () => {
  postgres = await startPostgres();
});
afterAll(async () => {
  await postgres?.stop();
});

it("starts and streams the others while tables are locked", async () => {
  const gateway = await GatewayUnderTest.create(postgres, {
    setup: `CREATE TABLE item (id int PRIMARY KEY, name text); CREATE TABLE other (id int PRIMARY KEY, name text);
     CREATE TABLE event (id int, part int, PRIMARY KEY (part, id)) PARTITION BY LIST (part);
     CREATE TABLE event_1 PARTITION OF event FOR VALUES IN (1);
     INSERT INTO item VALUES (1, 'one'); INSERT INTO other VALUES (1, 'one'); INSERT INTO event VALUES (1, 1);
     CREATE PUBLICATION p FOR TABLE item, other, event WITH (publish_via_partition_root = true)`,
  });
  onTestFinished(() => gateway.close());
  const { client, process } = gateway;
  process.start();
  await gateway.caughtUp({ tables: 3 });
  await process.stop();
  await client.query("CREATE TABLE fresh (id int PRIMARY KEY)");
  await client.query("INSERT INTO fresh VALUES (1)");
  await client.query("ALTER PUBLICATION p ADD TABLE fresh");
  await client.query("UPDATE item SET name = 'before the lock'");

  const altering = await gateway.session();
  onTestFinished(() => altering.end());
  await altering.query("BEGIN");
  const { rows } = await altering.query<{ pid: number }>("SELECT pg_backend_pid() AS pid");
  await altering.query("ALTER TABLE item ADD COLUMN more int DEFAULT 7");
  await altering.query("CREATE TABLE event_2 PARTITION OF event FOR VALUES IN (2)");
  await altering.query("LOCK TABLE fresh");

  process.start();
  await client.query("INSERT INTO other VALUES (2, 'two')");
  const isStreamed = (name: string, inserts: number) =>
    process.untilStatus(
      `${name} streams`,
      ({ tables }) =>
        tables.find((table) => table.name === name)?.state.kind === "streaming" &&
        tables.find((table) => table.name === name)?.inserts === inserts,
      10_000,
    );
  await isStreamed("other", 1);
  await process.untilStatus("who holds the lock is named", ({ tables }) =>
    tables.some(
      ({ name, state }) =>
        name === "fresh" &&
        state.kind === "pending" &&
        state.waitingFor === `transactions that write to it: pid ${rows[0].pid}`,
    ),
  );
  // The look at the publication isn't held up either: what it gains is copied and streamed.
  await client.query("CREATE TABLE late (id int PRIMARY KEY)");
  await client.query("ALTER PUBLICATION p ADD TABLE late");
  await process.untilStatus("the new table streams", ({ tables }) =>
    tables.some(({ name, state, snapshots }) => name === "late" && state.kind === "streaming" && snapshots === 1),
  );
  await client.query("INSERT INTO late VALUES (1)");
  await isStreamed("late", 1);
  expect(process.output).not.toMatch(/poll-failed|stream-lost/);

  await altering.query("INSERT INTO event VALUES (2, 2)");
  await altering.query("COMMIT");
  await client.query("INSERT INTO item VALUES (2, 'after', 8)");
  const status = await gateway.caughtUp({ tables: 5 });
  for (const { name } of status.tables) {
    const { staged, source } = await gateway.rows(name);
    expect(staged, name).toEqual(source);
  }
  expect(Object.fromEntries(status.tables.map(({ name, snapshots }) => [name, snapshots]))).toEqual({
    event: 1,
    fresh: 1,
    item: 1,
    late: 1,
    other: 1,
  });
});

it("is told as failed until a snapshot of it has begun, also while another attempt waits", async () => {
  const gateway = await GatewayUnderTest.create(postgres, {
    setup: `CREATE TABLE clash (id int PRIMARY KEY, "Name" text, name text); INSERT INTO clash VALUES (1, 'one');
     CREATE PUBLICATION p FOR TABLE clash`,
  });
  onTestFinished(() => gateway.close());
  const { client, process } = gateway;
  const state = () => process.status()?.tables.find(({ name }) => name === "clash")?.state;
  process.start();
  await until("it has failed", () => state()?.kind === "failed");

  const writing = await gateway.session();
  onTestFinished(() => writing.end());
  await writing.query("BEGIN");
  await writing.query("INSERT INTO clash VALUES (2, 'two')");
  const attempts = gateway.logged("snapshot-started").length;
  const attempt = await until("another attempt", () => gateway.logged("snapshot-started").at(attempts));
  await process.untilStatus(
    "a status of the attempt, which waits for its writer",
    ({ updatedAt }) => updatedAt > String(attempt.at),
  );
  expect(state()?.kind).toBe("failed");

  await writing.query("COMMIT");
  await client.query(`ALTER TABLE clash RENAME "Name" TO other`);
  await gateway.caughtUp();
  const { staged, source } = await gateway.rows("clash");
  expect(staged).toEqual(source);
});
