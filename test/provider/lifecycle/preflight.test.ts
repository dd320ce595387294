// Contract: at preview the source is looked at for five seconds at most, read-only: what its flavour (by roles and settings
// that only it has, or as given) forbids is told with the flavour's own remedy, and so is every transaction that a new slot
// would wait for; a source that is too slow is told, with what had no answer, and fails nothing.
import { createServer, connect as openSocket, type Server } from "node:net";
import type pg from "pg";
import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from "vitest";
import { connection } from "../../../provider/lifecycle/connection";
import type { Lifecycle, Properties } from "../../../provider/lifecycle/lifecycle";
import { publication } from "../../../provider/lifecycle/publication";
import { replicationSlot } from "../../../provider/lifecycle/replication-slot";
import { withCheck } from "../../../provider/postgres/admin-session";
import { flavourOf, readFlavourMarks } from "../../../provider/postgres/flavour";
import { sourceSchema } from "../../../runtime/config";
import { startPostgres, type TestPostgres } from "../../support/postgres-server";

let server: TestPostgres;
let client: pg.Client;
let printed: string[] = [];

beforeAll(async () => {
  server = await startPostgres({ settings: { wal_level: "replica", max_prepared_transactions: "5" } });
  client = await server.client();
  vi.spyOn(console, "log").mockImplementation((line: string) => void printed.push(line));
});

beforeEach(() => {
  printed = [];
});

afterAll(async () => {
  vi.restoreAllMocks();
  await client?.end();
  await server?.stop();
});

const check = async (more: Properties) => (await connection.check({}, { ...server.source(), ...more })).failures;
const reasons = async (more: Properties) => (await check(more)).map(({ reason }) => reason);

describe("a flavour", () => {
  it.each<[string, string[], string, RegExp, RegExp]>([
    ["rds", ["rds_superuser", "rds_replication"], "", /DB parameter group/, /GRANT rds_replication TO "replica_rds"/],
    [
      "azure",
      ["azure_pg_admin"],
      "",
      /Set wal_level = logical in the server parameters/,
      /ALTER ROLE "replica_azure" WITH REPLICATION as a member of azure_pg_admin/,
    ],
    [
      "cloudsql",
      ["cloudsqlsuperuser"],
      "cloudsql.logical_decoding",
      /cloudsql\.logical_decoding is on, and takes effect with a restart/,
      /as a member of cloudsqlsuperuser/,
    ],
    ["alloydb", ["alloydbsuperuser"], "", /alloydb\.logical_decoding = on/, /as a member of alloydbsuperuser/],
  ])("%s is detected, and decides what is told", async (flavour, roles, setting, logical, replicate) => {
    const { user, passwordEnv } = await server.createRole(`replica_${flavour}`, "");
    await client.query(`GRANT CREATE ON DATABASE postgres TO ${user}`);
    for (const role of roles) await client.query(`CREATE ROLE ${role}`);
    if (setting !== "") await client.query(`ALTER ROLE ${user} SET ${setting} = 'on'`);
    try {
      const asRole = { user, password: { env: passwordEnv } };
      expect(await reasons(asRole)).toEqual([expect.stringMatching(logical), expect.stringMatching(replicate)]);
      // Given, it isn't detected.
      expect(await reasons({ ...asRole, flavour: "vanilla" })).toEqual([
        expect.stringContaining("ALTER SYSTEM SET wal_level"),
        expect.stringContaining("as a superuser"),
      ]);
      if (flavour === "rds") await client.query(`GRANT rds_replication TO ${user}`);
      else await client.query(`ALTER ROLE ${user} REPLICATION`);
      expect(await reasons(asRole)).toEqual([expect.stringMatching(logical)]);
    } finally {
      await client.query(`ALTER ROLE ${user} RESET ALL`);
      for (const role of roles) await client.query(`DROP ROLE ${role}`);
    }
  });

  it("is detected by a setting alone, and Aurora by its function", async () => {
    const found = async () => flavourOf(await readFlavourMarks(client));
    expect(await found()).toBe("vanilla");
    await client.query("SET rds.logical_replication = '0'");
    expect(await found()).toBe("rds");
    await client.query("CREATE FUNCTION public.aurora_version() RETURNS text LANGUAGE sql RETURN '16.4.1'");
    expect(await found()).toBe("aurora");
    await client.query("DROP FUNCTION public.aurora_version; RESET rds.logical_replication");
  });
});

describe("transactions that a new slot would wait for", () => {
  it("are told, prepared ones too, of every database; to a role that may not see them as far as it may", async () => {
    const writer = await server.client();
    const reader = await server.client("template1");
    await writer.query("CREATE TABLE public.t (a text)");
    await writer.query("BEGIN; INSERT INTO public.t VALUES ('x');");
    await writer.query("PREPARE TRANSACTION 'half-way'");
    await writer.query("SET application_name = 'billing'; BEGIN");
    await writer.query("INSERT INTO public.t VALUES ('canary-17')");
    // It has read only: no slot waits for it.
    await reader.query("BEGIN; SELECT 1");
    try {
      await check({ longTransactionMs: 0 });
      const warnings = printed.filter((line) => line.includes("creating a slot"));
      expect(warnings).toEqual([
        expect.stringMatching(/^warning: .*prepared transaction half-way \(role postgres, database postgres\)/),
        expect.stringMatching(
          /^warning: .*pid \d+ \(role postgres, database postgres, application billing\), open for \d s: INSERT INTO public\.t VALUES \('…'\)\. .*pg_terminate_backend\(\d+\)/,
        ),
      ]);
      expect(printed.join()).not.toContain("canary-17");
      printed = [];
      await check({});
      expect(printed.filter((line) => line.includes("creating a slot"))).toEqual([]);

      const { user, passwordEnv } = await server.createRole("blind", "REPLICATION");
      await check({ user, password: { env: passwordEnv }, longTransactionMs: 86_400_000 });
      expect(printed.filter((line) => line.includes("creating a slot"))).toEqual([
        expect.stringMatching(/^note: .* 1 transaction of other roles .*GRANT pg_read_all_stats TO "blind"/),
      ]);
    } finally {
      await reader.end();
      for (const sql of ["ROLLBACK", "ROLLBACK PREPARED 'half-way'"]) await writer.query(sql);
      await writer.end();
    }
  });
});

it("a look at the source can't write to it", async () => {
  const source = sourceSchema.parse(server.source());
  const writing = withCheck(source, "looking", (session) => session.query("CREATE TABLE public.trace (id int)"));
  await expect(writing).rejects.toMatchObject({ sqlState: "25006" });
});

describe("a source that is slow", () => {
  /** Passes bytes on until the client sends `until`; then nothing comes any more. */
  async function mutedAt(until: string): Promise<{ port: number; server: Server }> {
    const proxy = createServer((socket) => {
      const upstream = openSocket(server.port, server.host);
      upstream.on("data", (bytes) => socket.write(bytes));
      socket.on("data", (bytes) => {
        if (!bytes.includes(until)) upstream.write(bytes);
      });
      for (const one of [socket, upstream]) one.on("error", () => {});
      socket.on("close", () => upstream.destroy());
    });
    await new Promise<void>((ready) => proxy.listen(0, "127.0.0.1", ready));
    return { port: (proxy.address() as { port: number }).port, server: proxy };
  }

  it("after the connection is told at preview within five seconds, with what had no answer; nothing fails", async () => {
    const late = async (lifecycle: Lifecycle, until: string, inputs: (source: Properties) => Properties) => {
      const proxy = await mutedAt(until);
      try {
        return (await lifecycle.check({}, inputs({ ...server.source(), port: proxy.port }))).failures;
      } finally {
        proxy.server.close();
      }
    };
    const startedMs = Date.now();
    const failures = await Promise.all([
      late(connection, "server_version_num", (source) => source),
      late(publication, "pg_catalog.pg_class", (source) => ({ source, tables: ["public.t"] })),
      late(replicationSlot, "pg_replication_slots", (source) => ({ source, publicationName: "p", pipelineId: "late" })),
    ]);
    // Three checks at once, on a machine that may be busy.
    expect(Date.now() - startedMs).toBeLessThan(7_000);
    expect(failures).toEqual([[], [], []]);
    const inTime = (doing: string, step: string) =>
      expect.stringMatching(
        new RegExp(
          `^warning: 127\\.0\\.0\\.1:\\d+: ${doing}: .* didn't finish within 5000 ms; it was connected after \\d+ ms, and ${step} had no answer\\. .*preflight: "up"`,
        ),
      );
    const warnings = printed.filter((line) => line.startsWith("warning: "));
    expect(warnings).toHaveLength(3);
    expect(warnings).toEqual(
      expect.arrayContaining([
        inTime("preflight of the source", "reading settings and privileges"),
        inTime("checking the publication's tables", "checking the publication's tables"),
        inTime("checking the slot's name", "checking the slot's name"),
      ]),
    );
  });

  it("is told by the step that it is at, or that there was no connection", async () => {
    const source = sourceSchema.parse(server.source());
    const slow = withCheck(
      source,
      "looking",
      async (session, at) => {
        at("sleeping");
        await session.query("SELECT pg_sleep(60)");
      },
      3_000,
    );
    await expect(slow).rejects.toMatchObject({ kind: "timeout", message: expect.stringContaining("sleeping") });
    const silent = createServer();
    await new Promise<void>((ready) => silent.listen(0, "127.0.0.1", ready));
    const { port } = silent.address() as { port: number };
    await expect(withCheck({ ...source, port }, "looking", async () => {}, 700)).rejects.toMatchObject({
      kind: "unreachable",
      message: expect.stringContaining(`127.0.0.1:${port}`),
    });
    silent.close();
  });
});
