// Contract: a connection that is lost, at whatever moment, is an error that passes by itself; pg reports it without a
// code. What the server says, and defects of ours, are not taken for it.
import { afterAll, beforeAll, expect, it } from "vitest";
import { sourceSchema } from "../../../runtime/config";
import { isTransient, type SluiceError } from "../../../runtime/errors";
import { connectSource } from "../../../runtime/postgres/client";
import { toSourceError } from "../../../runtime/postgres/source-error";
import { startPostgres, type TestPostgres } from "../../support/postgres-server";
import { startTcpProxy, type TcpProxy } from "../../support/tcp-proxy";

let postgres: TestPostgres;
let proxy: TcpProxy;
beforeAll(async () => {
  postgres = await startPostgres();
  proxy = await startTcpProxy(postgres);
});
afterAll(async () => {
  await proxy?.close();
  await postgres?.stop();
});

const source = () => sourceSchema.parse({ ...postgres.source(), port: proxy.port });

async function errorOf(work: Promise<unknown>): Promise<SluiceError> {
  try {
    await work;
  } catch (error) {
    return toSourceError(error, "test");
  }
  throw new Error("no error");
}

it("during a query and after it", async () => {
  const client = await connectSource(source());
  const slow = errorOf(client.query("SELECT pg_sleep(20)"));
  proxy.cut();
  expect((await slow).kind).toBe("unreachable");
  expect(isTransient((await errorOf(client.query("SELECT 1"))).kind)).toBe(true);
  await client.end().catch(() => {});
});

it("during a query that nobody answers, though its time is over", async () => {
  proxy.restore();
  const client = await connectSource(source(), { statementTimeoutMs: 500 });
  expect((await client.query("SELECT 1 AS one")).rows).toEqual([{ one: 1 }]);
  proxy.stall();
  expect((await errorOf(client.query("SELECT 1"))).kind).toBe("unreachable");
  proxy.restore();
  await client.end().catch(() => {});
});

it("during connecting", async () => {
  proxy.cut();
  const error = await errorOf(connectSource(source()));
  expect(isTransient(error.kind)).toBe(true);
});

it("not an error of the server, or of ours", async () => {
  proxy.restore();
  const client = await connectSource(source());
  expect((await errorOf(client.query("SELECT * FROM nowhere"))).kind).toBe("missing-object");
  expect((await errorOf(client.query("SELECT $1::int", [Symbol("x")]))).kind).toBe("internal");
  expect((await client.query("SELECT 1 AS one")).rows).toEqual([{ one: 1 }]);
  await client.end();
});
