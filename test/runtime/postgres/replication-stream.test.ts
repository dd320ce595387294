// Contract: a stream that has started goes on; the deadline of its start is no deadline of its life.
import { afterAll, beforeAll, expect, it } from "vitest";
import { sourceSchema } from "../../../runtime/config";
import type { Lsn } from "../../../runtime/postgres/lsn";
import { ReplicationStream } from "../../../runtime/postgres/replication-stream";
import { until } from "../../support/conditions";
import { startPostgres, type TestPostgres } from "../../support/postgres-server";

let postgres: TestPostgres;

beforeAll(async () => {
  postgres = await startPostgres();
});
afterAll(async () => {
  await postgres?.stop();
});

it("lives on after the time that its start was given", async () => {
  const client = await postgres.client();
  await client.query("CREATE PUBLICATION p");
  await client.query("SELECT pg_create_logical_replication_slot('s', 'pgoutput')");
  await client.end();
  const startedMs = Date.now();
  let heardMs = 0;
  const stream = new ReplicationStream({
    source: sourceSchema.parse(postgres.source()),
    applicationName: "test",
    slot: "s",
    publication: "p",
    startLsn: 0n as Lsn,
    serverVersion: 150_000,
    binary: false,
    early: true,
    onMessage: () => {},
    onKeepalive: () => {
      heardMs = Date.now() - startedMs;
    },
    durableLsn: () => 0n as Lsn,
    statusMs: 100,
    startTimeoutMs: 1_500,
  });
  let failure: unknown = null;
  stream.done.catch((error: unknown) => {
    failure = error;
  });
  await stream.started;
  await until("a keepalive after that time", () => failure !== null || heardMs > 2_500);
  expect(failure).toBeNull();
  await stream.stop();
});
