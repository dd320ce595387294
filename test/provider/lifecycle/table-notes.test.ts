// Contract: before a table is published the preview tells what of it would be lost or costs: a policy that hides rows from
// our role is a failure with its remedy, at preview and at update; an identity that is set to FULL, generated columns and
// numeric without precision are notes, a line for each kind, of tables that are new only.
// Invariant 4 (the destination equals the source, or the value is reported).
import type pg from "pg";
import { afterAll, beforeAll, beforeEach, expect, it, vi } from "vitest";
import { publication } from "../../../provider/lifecycle/publication";
import { startPostgres, type TestPostgres } from "../../support/postgres-server";

let server: TestPostgres;
let client: pg.Client;
const printed: string[] = [];

beforeAll(async () => {
  server = await startPostgres();
  client = await server.client();
  await client.query(`
    CREATE TABLE public.plain (id int PRIMARY KEY, n int);
    CREATE TABLE public.hidden (id int PRIMARY KEY);
    ALTER TABLE public.hidden ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
    CREATE TABLE public.wide (id int PRIMARY KEY, body text, amount numeric);
    CREATE TABLE public.made (id int PRIMARY KEY, total int GENERATED ALWAYS AS (id * 2) STORED);
    CREATE TABLE public.small (id int PRIMARY KEY, amount numeric, price money)`);
  vi.spyOn(console, "log").mockImplementation((line: string) => void printed.push(line));
});

beforeEach(() => {
  printed.length = 0;
});

afterAll(async () => {
  vi.restoreAllMocks();
  await client?.end();
  await server?.stop();
});

const news = (tables: string[], source: object = server.source()) => ({ source, tables, publicationName: "noted" });

it("tells kinds of notes in a line each, of new tables only", async () => {
  const first = await publication.check({}, news(["public.plain", "public.wide", "public.small", "public.made"]));
  expect(first.failures).toEqual([]);
  expect(printed.filter((line) => line.startsWith("note: "))).toEqual([
    expect.stringMatching(
      /REPLICA IDENTITY FULL is set.*: "public"\."small" \("amount"\), "public"\."wide" \("body", "amount"\)$/,
    ),
    expect.stringMatching(/generated columns aren't carried: "public"\."made"\."total"$/),
    expect.stringMatching(/numeric without precision .*: "public"\."small"\."amount", "public"\."wide"\."amount"$/),
    expect.stringMatching(/money becomes DOUBLE.*: "public"\."small"\."price"$/),
  ]);
  printed.length = 0;
  const olds = (await publication.check({}, news(["public.wide", "public.small"]))).inputs;
  printed.length = 0;
  expect((await publication.check(olds, news(["public.wide", "public.small", "public.plain"]))).failures).toEqual([]);
  expect(printed.filter((line) => line.startsWith("note: "))).toEqual([]);
});

it("refuses a table of which a policy would hide rows, at preview and at update", async () => {
  const { user, passwordEnv } = await server.createRole("owner", "REPLICATION");
  await client.query(`GRANT CREATE ON DATABASE postgres TO owner; ALTER TABLE public.hidden OWNER TO owner`);
  const source = { ...server.source(), user, password: { env: passwordEnv } };
  const wanted = news(["public.hidden"], source);
  expect((await publication.check({}, wanted)).failures).toEqual([
    {
      property: "tables[0]",
      reason: expect.stringMatching(
        /row-level security of "public"\."hidden" would hide rows.*\n.*BYPASSRLS.*NO FORCE/,
      ),
    },
  ]);
  const { inputs } = await publication.check({}, { ...wanted, preflight: "up" });
  await expect(publication.create(inputs)).rejects.toMatchObject({ kind: "permission" });
  await client.query("ALTER TABLE public.hidden NO FORCE ROW LEVEL SECURITY");
  expect((await publication.check({}, wanted)).failures).toEqual([]);
});
