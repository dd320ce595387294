// Contract: `sluice resync` makes the gateway copy a table again, once, whenever the gateway is killed; the others stream
// on (invariants 3 and 4).
import { execFileSync } from "node:child_process";
import { readdirSync } from "node:fs";
import { join, resolve } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { until } from "../../support/conditions";
import { GatewayUnderTest } from "../../support/gateway-under-test";
import { startPostgres, type TestPostgres } from "../../support/postgres-server";

let postgres: TestPostgres;
beforeAll(async () => {
  postgres = await startPostgres();
});
afterAll(() => postgres.stop());

it("copies a table again, and only once", async () => {
  const gateway = await GatewayUnderTest.create(postgres);
  try {
    await gateway.client.query("INSERT INTO item SELECT i, 'x' || i FROM generate_series(1, 50) i");
    await gateway.client.query("CREATE TABLE other (id int PRIMARY KEY); ALTER PUBLICATION p ADD TABLE other");
    gateway.process.start();
    await gateway.caughtUp();
    const config = join(gateway.folder, "gateway.json");
    const main = resolve(__dirname, "../../../dist/runtime/main.js");
    const resync = (...names: string[]) =>
      execFileSync(process.execPath, [main, "resync", "--config", config, "--json", ...names], { encoding: "utf8" });
    expect(JSON.parse(resync("public.item"))).toMatchObject({ requests: [{ table: "public.item" }] });
    await gateway.process.kill();
    gateway.process.start();
    await gateway.client.query("UPDATE item SET name = 'y' WHERE id <= 10; DELETE FROM item WHERE id = 50");
    const requests = join(gateway.stagingPath, "requests", "resync");
    await until("it is followed", () => readdirSync(requests).length === 0);
    const status = await gateway.caughtUp();
    await gateway.process.kill();
    gateway.process.start();
    await gateway.client.query("INSERT INTO item VALUES (99, 'last')");
    await gateway.caughtUp();
    expect(status.tables.map(({ name, snapshots }) => [name, snapshots]).sort()).toEqual([
      ["item", 2],
      ["other", 1],
    ]);
    const { staged, source } = await gateway.rows("item");
    expect(staged).toEqual(source);
    expect(() => resync("public.nothing")).toThrow();
  } finally {
    await gateway.close();
  }
});
