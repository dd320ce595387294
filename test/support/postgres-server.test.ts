// Contract: tests run on a real PostgreSQL of their own, ready for logical decoding, and nothing of it remains.
import { existsSync } from "node:fs";
import { expect, it } from "vitest";
import { startPostgres } from "./postgres-server";

it("starts with logical WAL, takes settings, starts again after a crash, makes roles, and stops for good", async () => {
  const server = await startPostgres({ settings: { max_replication_slots: "3" } });
  const client = await server.client();
  const { rows } = await client.query(
    "SELECT current_setting('wal_level') AS level, current_setting('max_replication_slots') AS slots",
  );
  expect(rows[0]).toEqual({ level: "logical", slots: "3" });
  await client.end();
  await server.restart("immediate");
  const again = await server.client();
  expect((await again.query("SELECT current_setting('max_replication_slots') AS slots")).rows[0].slots).toBe("3");
  await again.end();
  const { pid } = server;
  const role = await server.createRole("reader", "NOSUPERUSER");
  expect(process.env[role.passwordEnv]).toBe(role.password);
  await server.stop();
  expect(existsSync(server.dataFolder)).toBe(false);
  expect(() => process.kill(pid, 0)).toThrow();
});
