// Contract: at a replacement beside each other (blue/green) the new publication takes over what the tables' replica
// identities were; the old one's delete leaves them as they are, and the new one's restores the originals. So it is after
// any number of replacements, with tables that leave or come meanwhile, and after an update that was interrupted; and where
// several pipelines publish a table: the publication that goes last restores its identity.
// Invariant 5: after delete nothing of ours remains.
import type pg from "pg";
import { afterAll, afterEach, beforeAll, beforeEach, expect, it, vi } from "vitest";
import type { Properties } from "../../../provider/lifecycle/lifecycle";
import { publication } from "../../../provider/lifecycle/publication";
import { startPostgres, type TestPostgres } from "../../support/postgres-server";

let server: TestPostgres;
let client: pg.Client;

beforeAll(async () => {
  server = await startPostgres();
  client = await server.client();
});

afterAll(async () => {
  await client?.end();
  await server?.stop();
});

beforeEach(async () => {
  await client.query(`
    CREATE SCHEMA s;
    CREATE TABLE s.keyed (id int PRIMARY KEY, n int);
    CREATE TABLE s.toasted (id int PRIMARY KEY, t text);
    CREATE TABLE s.keyless (n int);
    CREATE TABLE s.nothing (id int PRIMARY KEY);
    ALTER TABLE s.nothing REPLICA IDENTITY NOTHING;
    CREATE TABLE s.late (id int PRIMARY KEY, t text)`);
});

afterEach(async () => {
  const { rows } = await client.query<{ pubname: string }>("SELECT pubname FROM pg_publication");
  for (const { pubname } of rows) await client.query(`DROP PUBLICATION ${client.escapeIdentifier(pubname)}`);
  await client.query("DROP SCHEMA s CASCADE");
});

async function identities(): Promise<Record<string, string>> {
  const { rows } = await client.query<{ relname: string; relreplident: string }>(
    "SELECT relname, relreplident FROM pg_class WHERE relnamespace = 's'::regnamespace AND relkind = 'r'",
  );
  return Object.fromEntries(rows.map((row) => [row.relname, row.relreplident]));
}

const original = { keyed: "d", toasted: "d", keyless: "d", nothing: "n", late: "d" };
const needed = { ...original, toasted: "f", keyless: "f", nothing: "d" };
const all = ["s.keyed", "s.toasted", "s.keyless", "s.nothing"];

interface Made {
  id: string;
  inputs: Properties;
  outs: Properties;
}

const news = (publicationName: string, tables: unknown[] = all): Properties => ({
  source: server.source(),
  tables,
  publicationName,
});

async function checked(olds: Properties, wanted: Properties): Promise<Properties> {
  const { inputs, failures } = await publication.check(olds, wanted);
  expect(failures).toEqual([]);
  return inputs;
}

async function create(wanted: Properties): Promise<Made> {
  const inputs = await checked({}, wanted);
  return { inputs, ...(await publication.create(inputs)) };
}

/** As an engine does it, up to the delete of the old one. */
async function createBeside(old: Made, wanted: Properties): Promise<Made> {
  const change = publication.diff(old.id, old.outs, await checked(old.inputs, wanted));
  expect(change).toMatchObject({ changes: true, deleteBeforeReplace: false });
  expect(change.replaces).toContain("publicationName");
  return create(wanted);
}

/** Of a process that has seen nothing of the others. */
async function freshProvider(): Promise<{ publication: typeof publication }> {
  vi.resetModules();
  return import("../../../provider/lifecycle/publication.js");
}

const remove = (made: Made) => publication.delete(made.id, made.outs);

it("the old one's delete leaves the identities, the new one's restores the originals", async () => {
  const old = await create(news("first"));
  expect(await identities()).toEqual(needed);
  const next = await createBeside(old, news("second"));
  expect(await identities()).toEqual(needed);
  await remove(old);
  expect(await identities()).toEqual(needed);
  await remove(next);
  expect(await identities()).toEqual(original);
});

it("so it is after several replacements, one of them interrupted before its delete", async () => {
  const named = (name: string) => ({ ...news(name), pipelineId: "handover" });
  const first = await create(named("first"));
  const second = await createBeside(first, named("second"));
  await remove(first);
  // A create whose result was lost: the engine plans and makes it once more.
  await createBeside(second, named("third"));
  const third = await createBeside(second, named("third"));
  expect(await identities()).toEqual(needed);
  await remove(second);
  expect(await identities()).toEqual(needed);
  expect(await publication.read(third.id, third.outs)).toMatchObject({ id: "third", props: { drift: [] } });
  await remove(third);
  expect(await identities()).toEqual(original);
});

it("a table that leaves with the replacement gets its own back from the old one, and one that comes from the new one", async () => {
  const old = await create(news("first"));
  const next = await createBeside(old, news("second", ["s.keyed", "s.keyless", "s.late"]));
  expect(await identities()).toEqual({ ...needed, late: "f" });
  await remove(old);
  expect(await identities()).toEqual({ ...original, keyless: "f", late: "f" });
  await remove(next);
  expect(await identities()).toEqual(original);
});

it("an identity that the replacement changes goes back to the original, not to that in between", async () => {
  await client.query("CREATE UNIQUE INDEX by_n ON s.keyed (n); ALTER TABLE s.keyed ALTER n SET NOT NULL");
  const old = await create(news("first", [{ table: "s.keyed", replicaIdentity: "full" }]));
  expect((await identities()).keyed).toBe("f");
  const next = await createBeside(old, news("second", [{ table: "s.keyed", replicaIdentity: { index: "by_n" } }]));
  expect((await identities()).keyed).toBe("i");
  await remove(old);
  expect((await identities()).keyed).toBe("i");
  await remove(next);
  expect(await identities()).toEqual(original);
});

it("where the new one can't be made the old one restores them at its delete", async () => {
  const old = await create(news("first"));
  await client.query("CREATE PUBLICATION second FOR TABLE s.late");
  const wanted = { ...news("second"), preflight: "up" };
  publication.diff(old.id, old.outs, await checked(old.inputs, wanted));
  await expect(create(wanted)).rejects.toThrow(/second/);
  expect(await identities()).toEqual(needed);
  await remove(old);
  expect(await identities()).toEqual(original);
});

it("two that are deleted at once restore the originals: neither leaves them to the other", async () => {
  for (let turn = 0; turn < 8; turn++) {
    const old = await create(news(`old_${turn}`));
    const next = await createBeside(old, news(`next_${turn}`));
    await Promise.all([remove(old), remove(next)]);
    expect(await identities()).toEqual(original);
  }
});

it("of two pipelines with the same tables the one that goes last restores the originals, also by another process", async () => {
  const { publication: elsewhere } = await freshProvider();
  const first = await create(news("first"));
  const inputs = await checked({}, news("second", ["s.keyed", "s.toasted", "s.keyless"]));
  const second = await elsewhere.create(inputs);
  await remove(first);
  expect(await identities()).toEqual({ ...needed, nothing: "n" });
  await elsewhere.delete(second.id, second.outs);
  expect(await identities()).toEqual(original);
});

it("one leaves an identity that it doesn't need any more to another that publishes the table", async () => {
  const full = (name: string) => [{ table: name, replicaIdentity: "full" }];
  const first = await create(news("first", full("s.keyed")));
  const second = await create(news("second", full("s.keyed")));
  const inputs = await checked(second.inputs, news("second", ["s.keyed"]));
  const { outs } = await publication.update(second.id, second.outs, inputs);
  expect((await identities()).keyed).toBe("f");
  await remove(first);
  expect((await identities()).keyed).toBe("f");
  await publication.delete(second.id, outs);
  expect(await identities()).toEqual(original);
});
