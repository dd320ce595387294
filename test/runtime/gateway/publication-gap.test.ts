// Contract: of a table that left the publication and came back unseen the stream lacks what was written between; it is
// copied again, and no other (invariants 3 and 4). What doesn't touch its membership copies nothing.
import { afterAll, beforeAll, expect, it, onTestFinished } from "vitest";
import { onlyOwnerChanged, type PublicationLook } from "../../../runtime/change/publication-membership";
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

const setup = `
  CREATE TABLE item (id int PRIMARY KEY, name text); CREATE TABLE other (id int PRIMARY KEY);
  INSERT INTO item SELECT n, 'item ' || n FROM generate_series(1, 100) n; INSERT INTO other VALUES (1);
  CREATE PUBLICATION p FOR TABLE item, other`;

/** Snapshots of item and other after `statements`, run while the gateway is down, or while it streams. */
async function snapshotsAfter(statements: string[], when: "down" | "up"): Promise<Record<string, number>> {
  const gateway = await GatewayUnderTest.create(postgres, { setup });
  onTestFinished(() => gateway.close());
  gateway.process.start();
  await gateway.caughtUp({ tables: 2 });
  if (when === "down") {
    await gateway.process.kill();
    await gateway.releaseSlot();
  }
  for (const statement of statements) await gateway.client.query(statement);
  if (when === "down") gateway.process.start();
  await gateway.client.query("INSERT INTO item VALUES (1000, 'after')");
  await gateway.client.query("INSERT INTO other VALUES (2)");
  let counts: Record<string, number> = {};
  // What a poll of 200 ms finds is copied again; the rows tell when that is over.
  await expect
    .poll(
      async () => {
        const { tables } = await gateway.caughtUp({ tables: 2 });
        counts = Object.fromEntries(tables.map((table) => [table.name, table.snapshots]));
        const { staged, source } = await gateway.rows("item");
        return staged.join() === source.join();
      },
      { timeout: 20_000, interval: 100 },
    )
    .toBe(true);
  return counts;
}

const update = "UPDATE item SET name = 'unseen' WHERE id < 50";

it.each<[string, string[]]>([
  ["leaves and comes back", ["ALTER PUBLICATION p DROP TABLE item", update, "ALTER PUBLICATION p ADD TABLE item"]],
  [
    "isn't published by all its operations for a while",
    [
      "ALTER PUBLICATION p SET (publish = 'insert')",
      update,
      "ALTER PUBLICATION p SET (publish = 'insert, update, delete, truncate')",
    ],
  ],
])("a table that %s while the gateway is down", async (_what, statements) => {
  expect((await snapshotsAfter(statements, "down")).item).toBe(2);
});

it("only the table that left", async () => {
  const statements = ["ALTER PUBLICATION p DROP TABLE item", update, "ALTER PUBLICATION p ADD TABLE item"];
  expect((await snapshotsAfter(statements, "up")).other).toBe(1);
});

it("a publication whose options changed while the gateway is down, hidden behind a change of its owner", async () => {
  const statements = [
    "ALTER PUBLICATION p SET (publish = 'insert')",
    update,
    "ALTER PUBLICATION p SET (publish = 'insert, update, delete, truncate')",
    "CREATE ROLE hider",
    "ALTER PUBLICATION p OWNER TO hider",
  ];
  expect((await snapshotsAfter(statements, "down")).item).toBe(2);
});

it("nothing for another owner, of the publication or a table, that is seen while the gateway streams", async () => {
  const gateway = await GatewayUnderTest.create(postgres, { setup });
  onTestFinished(() => gateway.close());
  gateway.process.start();
  await gateway.caughtUp({ tables: 2 });
  const own = (await gateway.client.query("SELECT current_user AS name")).rows[0].name as string;
  await gateway.client.query("CREATE ROLE heir; CREATE ROLE second; ALTER TABLE item OWNER TO heir");
  for (const owner of ["heir", "second", own]) {
    const seen = gateway.logged("publication-owner-changed").length;
    await gateway.client.query(`ALTER PUBLICATION p OWNER TO "${owner}"`);
    await until("the other owner is seen", () => gateway.logged("publication-owner-changed").length > seen);
    await gateway.client.query(update);
  }
  const counts = async () => (await gateway.caughtUp({ tables: 2 })).tables.map(({ snapshots }) => snapshots);
  expect(await counts()).toEqual([1, 1]);
  // A restart knows of it.
  await gateway.process.kill();
  await gateway.releaseSlot();
  gateway.process.start();
  await gateway.client.query("INSERT INTO item VALUES (1001, 'after the restart')");
  expect(await counts()).toEqual([1, 1]);
  const { staged, source } = await gateway.rows("item");
  expect(staged).toEqual(source);
});

it.each<[string, Partial<PublicationLook>, boolean]>([
  ["its owner", {}, true],
  ["nothing", { version: "7.100", owner: "10", ownedSince: null }, false],
  ["its options", { owner: "10" }, false],
  ["its options too", { options: { pubinsert: false } }, false],
  ["its options after its owner", { ownedSince: "101" }, false],
  ["its very self", { version: "8.102" }, false],
  ["what nobody has looked at for long", { atMs: 60_000 }, false],
  ["its owner, to the bootstrap superuser", { ownedSince: null }, true],
])("two looks tell that what changed is %s", (_what, more, isOwner) => {
  const before = { version: "7.100", owner: "10", ownedSince: null, options: { pubinsert: true }, atMs: 0 };
  const after = { ...before, version: "7.102", owner: "16400", ownedSince: "102", atMs: 2_000, ...more };
  expect(onlyOwnerChanged(before, after)).toBe(isOwner);
});

it("nothing for a comment, or for another table that joins and leaves", async () => {
  const statements = [
    "COMMENT ON PUBLICATION p IS 'ours'",
    "CREATE TABLE third (id int PRIMARY KEY)",
    "ALTER PUBLICATION p ADD TABLE third",
    "ALTER PUBLICATION p DROP TABLE third",
    update,
  ];
  expect(await snapshotsAfter(statements, "down")).toEqual({ item: 1, other: 1 });
});
