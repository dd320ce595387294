// Contract: a published table that can't be carried stops by itself, with the remedy; the others go on.
import { afterAll, beforeAll, expect, it } from "vitest";
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

it("a table without columns stops by itself with the remedy, and isn't begun again and again; the others go on", async () => {
  const gateway = await GatewayUnderTest.create(postgres);
  try {
    await gateway.client.query("CREATE TABLE bare (); ALTER PUBLICATION p ADD TABLE bare");
    gateway.process.start();
    const bare = await until("it is told", () => {
      const found = gateway.process.status()?.tables.find(({ name }) => name === "bare");
      return found?.state.kind === "failed" && found.state;
    });
    expect(bare).toMatchObject({ message: expect.stringContaining('"public"."bare" has no columns') });
    expect(gateway.logged("snapshot-started").filter(({ table }) => table === "public.bare").length).toBeLessThan(4);
    await gateway.process.untilStatus("the other is copied", ({ tables }) =>
      tables.some(({ name, state }) => name === "item" && state.kind === "streaming"),
    );
    await gateway.client.query("INSERT INTO item VALUES (1, 'a')");
    await gateway.process.untilStatus("the others go on", ({ tables }) =>
      tables.some(({ name, state, inserts }) => name === "item" && state.kind === "streaming" && inserts === 1),
    );
  } finally {
    await gateway.close();
  }
});
