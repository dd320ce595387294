// Contract: each bad input that can be known is told at preview, at its property, with its remedy, and by an update too;
// a failed update leaves no slot, publication or process that the state doesn't know, and the next update after the
// remedy goes through.
// Invariants 5 (after delete nothing of ours remains) and 6 (no secret leaves its place).
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type pg from "pg";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { longTest } from "../support/long-test";
import { startPostgres, type TestPostgres } from "../support/postgres-server";
import {
  endProcesses,
  errorsOf,
  filesHolding,
  knownIds,
  openIngestion,
  processesNaming,
  publicationNames,
  slotNames,
} from "./ingestion-stack";

type Args = Record<string, unknown>;

const wrongPassword = "canary-wrong-6f1d";
let server: TestPostgres;
let client: pg.Client;
let folder: string;
let source: Args;
let listener: Server | null = null;

beforeAll(async () => {
  process.env.SLUICE_TEST_WRONG = wrongPassword;
  server = await startPostgres({ settings: { max_replication_slots: "2" } });
  client = await server.client();
  const { user, passwordEnv } = await server.createRole("ingest", "REPLICATION");
  await client.query(`
    GRANT CREATE ON DATABASE postgres TO ingest;
    CREATE TABLE public.mine (id int PRIMARY KEY);
    ALTER TABLE public.mine OWNER TO ingest;
    INSERT INTO public.mine VALUES (1), (2);
    CREATE TABLE public.private (id int PRIMARY KEY)`);
  source = { ...server.source(), user, password: { env: passwordEnv } };
  folder = mkdtempSync(join(tmpdir(), "sluice-bad-input-"));
  writeFileSync(join(folder, "file"), "");
});

afterAll(async () => {
  listener?.close();
  if (folder !== undefined) await endProcesses(folder);
  await client?.end();
  await server?.stop();
  if (folder !== undefined) rmSync(folder, { recursive: true, force: true });
});

function args(more: Args = {}): Args {
  return {
    source,
    tables: ["public.mine"],
    destination: { kind: "local", path: join(folder, "lake") },
    stateDir: join(folder, "state"),
    ...more,
  };
}

const known = (stack: string, kind: string) => knownIds(folder, stack, kind);

async function expectNothingUnknown(others: string[] = []): Promise<void> {
  expect(await slotNames(client)).toEqual([...known("bad", "ReplicationSlot"), ...others].sort());
  expect(await publicationNames(client)).toEqual(known("bad", "Publication"));
  expect(processesNaming(join(folder, "state"))).toEqual([]);
}

interface Case {
  name: string;
  bad: () => Args | Promise<Args>;
  told: RegExp;
  remedy?: () => unknown;
  /** update too, though the preview has failed: by then the resources before the bad one are made */
  up?: true;
  /** slots that the case itself made */
  others?: string[];
}

const cases: Case[] = [
  {
    name: "a wrong host",
    bad: () => ({ source: { ...source, host: "db.invalid" } }),
    told: /"host": connecting: [\s\S]*remedy: Check the host name/,
  },
  {
    name: "a wrong password",
    bad: () => ({ source: { ...source, password: { env: "SLUICE_TEST_WRONG" } } }),
    up: true,
    told: /"password": connecting: password authentication failed[\s\S]*remedy: Check user and password/,
  },
  {
    name: "a wrong password given as a value",
    bad: () => ({ source: { ...source, password: wrongPassword } }),
    up: true,
    told: /password: connecting: password authentication failed[\s\S]*remedy: Check user and password/,
  },
  {
    name: "no free slot, for a new connection",
    bad: async () => {
      for (const name of ["one", "two"]) await client.query("SELECT pg_create_physical_replication_slot($1)", [name]);
      return {};
    },
    told: /no free replication slot: 2 of max_replication_slots = 2[\s\S]*remedy: Drop an unused one/,
    remedy: () => client.query("SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots"),
    others: ["one", "two"],
  },
  {
    name: "a table that doesn't exist",
    bad: () => ({ tables: ["public.mine", "public.gone"] }),
    up: true,
    told: /"tables\[1\]": table "public"\."gone" does not exist[\s\S]*remedy: Create it/,
  },
  {
    name: "a table without privileges",
    bad: () => ({ tables: ["public.mine", "public.private"] }),
    told: /"tables\[1\]": role "ingest" lacks the ownership[\s\S]*remedy: Run GRANT SELECT ON "public"\."private"/,
    remedy: () => client.query("ALTER TABLE public.private OWNER TO ingest"),
  },
  {
    name: "no free slot, for a connection that exists",
    bad: async () => {
      for (const name of ["one", "two"]) await client.query("SELECT pg_create_physical_replication_slot($1)", [name]);
      return {};
    },
    up: true,
    told: /no free replication slot: 2 of max_replication_slots = 2[\s\S]*remedy: Drop an unused one/,
    remedy: () => client.query("SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots"),
    others: ["one", "two"],
  },
  {
    name: "a staging folder that can't be written",
    bad: () => ({ gateway: { stagingPath: join(folder, "file", "staging") } }),
    up: true,
    told: /"stagingPath": nothing can be written to .*file is a file, not a folder\n {2}remedy: Choose another/,
  },
  {
    name: "a port that is taken",
    bad: async () => ({ gateway: { httpPort: await listen() } }),
    up: true,
    told: /"httpPort": port \d+ on 127\.0\.0\.1 is taken\n {2}remedy: Choose another httpPort/,
    remedy: () => listener?.close(),
  },
];

async function listen(): Promise<number> {
  if (listener !== null) return (listener.address() as { port: number }).port;
  const taken = createServer();
  listener = taken;
  await new Promise<void>((resolve) => taken.listen(0, "127.0.0.1", resolve));
  return (taken.address() as { port: number }).port;
}

describe("one stack with bad input after bad input", () => {
  it.each(cases)("is told of $name", async ({ bad, told, remedy, up, others }) => {
    const stack = await openIngestion(folder, "bad", args(await bad()));
    for (const operate of up ? [stack.preview, stack.up] : [stack.preview]) {
      const result = await operate();
      expect(result.failed).toBe(true);
      expect(errorsOf(result)).toMatch(told);
      expect(JSON.stringify(result)).not.toContain(wrongPassword);
      await expectNothingUnknown(others);
    }
    await remedy?.();
  });

  it("is told of an unknown kind of destination", async () => {
    const stack = await openIngestion(folder, "bad", args({ destination: { kind: "iceberg", path: "/lake" } }));
    const preview = await stack.preview();
    expect(errorsOf(preview)).toMatch(
      /"destination.kind": there is no destination of the kind "iceberg"[\s\S]*"local"/,
    );
  });

  it("goes through after all remedies, and leaves nothing when it is destroyed", async () => {
    const stack = await openIngestion(folder, "bad", args({ tables: ["public.mine", "public.private"] }));
    expect(errorsOf(await stack.up())).toBe("");
    expect(await slotNames(client)).toEqual(known("bad", "ReplicationSlot"));
    expect(await slotNames(client)).toHaveLength(1);
    expect(processesNaming(join(folder, "state"))).toHaveLength(4);
    expect(errorsOf(await stack.destroy())).toBe("");
    await expectNothingUnknown();
    expect(await slotNames(client)).toEqual([]);
    expect(readdirSync(join(folder, "state"))).toEqual([]);
    // The CLI keeps the configuration of each update, in which this test gives the password in plain.
    const ofCli = (path: string) => path.includes(".json.backend/");
    expect(filesHolding(folder, wrongPassword).filter((path) => !ofCli(path))).toEqual([]);
  });
});

describe("two stacks with one slot name", () => {
  longTest(
    "the second is told, and goes through with another name",
    async () => {
      const [first, second] = ["first", "second"].map((name) => {
        const own = join(folder, name);
        mkdirSync(own);
        return { name, stateDir: join(own, "state"), destination: { kind: "local", path: join(own, "lake") } };
      });
      const open = ({ name, ...places }: typeof first, names: Args) =>
        openIngestion(folder, name, args({ ...places, ...names }));
      const theirs = await open(first, { slotName: "shared", publicationName: "shared_pub" });
      expect(errorsOf(await theirs.up())).toBe("");

      const publicationClash = await open(second, { slotName: "other", publicationName: "shared_pub" });
      expect(errorsOf(await publicationClash.preview())).toMatch(
        /"publicationName": a publication "shared_pub" exists and isn't this stack's\n {2}remedy: Choose another/,
      );

      const clash = await open(second, { slotName: "shared" });
      const told =
        /"slotName": a replication slot shared exists [\s\S]*isn't this stack's\n {2}remedy: Choose another slotName/;
      expect(errorsOf(await clash.preview())).toMatch(told);
      expect(errorsOf(await clash.up())).toMatch(told);
      expect(await slotNames(client)).toEqual(["shared"]);

      const mended = await open(second, { slotName: "other" });
      expect(errorsOf(await mended.up())).toBe("");
      expect(await slotNames(client)).toEqual(["other", "shared"]);
      expect(errorsOf(await mended.destroy())).toBe("");
      expect(await slotNames(client)).toEqual(["shared"]);
      expect(errorsOf(await theirs.destroy())).toBe("");
      expect(await slotNames(client)).toEqual([]);
      expect(await publicationNames(client)).toEqual([]);
    },
    240_000,
  );
});

describe("wal_level = replica", () => {
  it("is told with the statement that changes it", async () => {
    const replica = await startPostgres({ settings: { wal_level: "replica" } });
    try {
      const stack = await openIngestion(folder, "replica", args({ source: replica.source() }));
      expect(errorsOf(await stack.preview())).toMatch(
        /"host": wal_level is replica, not logical\n {2}remedy: Run ALTER SYSTEM SET wal_level = 'logical' and restart/,
      );
    } finally {
      await replica.stop();
    }
  });
});
