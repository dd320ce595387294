// Contract: a table whose definition changes is followed in the stream, at its place, without being copied again,
// wherever it can be known what older rows have in it; else that table alone is copied again. Either way the staged
// log gives exactly the source's columns and rows (invariants 3 and 4). Each case has a table of its own, `t`, and all
// are captured by one gateway.
import { setTimeout as pause } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { installDdlCapture } from "../../../provider/postgres/ddl-capture-statements";
import { GatewayUnderTest } from "../../support/gateway-under-test";
import { startPostgres, type TestPostgres } from "../../support/postgres-server";

interface Case {
  name: string;
  /** each a transaction of its own, on the table $t and on $u */
  statements: string[];
  /** 2: it can't be followed, and is copied again */
  snapshots?: 1 | 2 | "either";
  /** with identity FULL, if it differs */
  snapshotsOfFull?: 1 | 2;
  /** with every change announced by event triggers */
  snapshotsAnnounced?: 1 | 2;
}

const write = "UPDATE $t SET a = a + 1 WHERE id <= 3; INSERT INTO $t (id, a) SELECT max(id) + 1, 99 FROM $t";

const cases: Case[] = [
  { name: "ADD COLUMN", statements: ["ALTER TABLE $t ADD c int", write] },
  {
    name: "ADD COLUMN with defaults",
    statements: [
      "ALTER TABLE $t ADD c text DEFAULT 'it''s', ADD d numeric(8,2) DEFAULT 1.5, ADD e int[] DEFAULT '{1,2}'",
      write,
    ],
  },
  { name: "ADD COLUMN that no row follows", statements: [write, "ALTER TABLE $t ADD c int DEFAULT 4"] },
  { name: "DROP COLUMN", statements: ["ALTER TABLE $t DROP b", write] },
  { name: "DROP COLUMN that no row follows", statements: [write, "ALTER TABLE $t DROP b"] },
  { name: "RENAME COLUMN", statements: ["ALTER TABLE $t RENAME b TO c", write] },
  {
    name: "columns that change names",
    statements: ["ALTER TABLE $t RENAME b TO c", "ALTER TABLE $t RENAME a TO b", "INSERT INTO $t VALUES (11, 5, 'c')"],
  },
  {
    name: "integer to bigint",
    statements: ["ALTER TABLE $t ALTER a TYPE bigint", write, "UPDATE $t SET a = 5000000000 WHERE id = 5", write],
  },
  {
    name: "a longer varchar, then text",
    statements: ["ALTER TABLE $t ALTER b TYPE varchar(40)", write, "ALTER TABLE $t ALTER b TYPE text", write],
  },
  { name: "a wider numeric", statements: ["ALTER TABLE $t ALTER n TYPE numeric(12,2)", write] },
  { name: "a longer numeric fraction", statements: ["ALTER TABLE $t ALTER n TYPE numeric(12,4)", write] },
  { name: "RENAME TABLE", statements: ["ALTER TABLE $t RENAME TO $t_renamed", "UPDATE $t_renamed SET a = 0"] },
  { name: "RENAME TABLE that no row follows", statements: [write, "ALTER TABLE $t RENAME TO $t_renamed"] },
  { name: "SET SCHEMA", statements: ["ALTER TABLE $t SET SCHEMA other", "UPDATE other.$t SET a = 0"] },
  {
    name: "another primary key",
    statements: [
      "ALTER TABLE $t DROP CONSTRAINT $t_pkey, ALTER a SET NOT NULL, ADD PRIMARY KEY (a)",
      "UPDATE $t SET b = 'k' WHERE a = 10; UPDATE $t SET a = 11 WHERE a = 10; DELETE FROM $t WHERE a = 20",
    ],
    // FULL doesn't tell the key, and the catalog may be newer than the row.
    snapshotsOfFull: 2,
    snapshotsAnnounced: 1,
  },
  {
    name: "another replica identity",
    statements: [
      "CREATE UNIQUE INDEX $t_a ON $t (a); ALTER TABLE $t ALTER a SET NOT NULL, REPLICA IDENTITY USING INDEX $t_a",
      "UPDATE $t SET b = 'k' WHERE a = 10; UPDATE $t SET a = 11 WHERE a = 10; DELETE FROM $t WHERE a = 20",
    ],
  },
  {
    name: "FULL from here on",
    statements: ["ALTER TABLE $t REPLICA IDENTITY FULL", write, "DELETE FROM $t WHERE id = 9"],
  },
  {
    name: "several changes before a row",
    statements: [
      "ALTER TABLE $t ADD c int DEFAULT 7",
      "ALTER TABLE $t RENAME a TO aa",
      "ALTER TABLE $t ADD d int",
      "UPDATE $t SET d = 1 WHERE id < 4",
    ],
  },
  {
    name: "changes amid a transaction",
    statements: [
      `BEGIN; UPDATE $t SET a = -1 WHERE id = 1; ALTER TABLE $t ADD c int DEFAULT 3; UPDATE $t SET c = 4 WHERE id = 1;
       ALTER TABLE $t RENAME b TO bb; INSERT INTO $t VALUES (11, 1, 'x', 1, 2); COMMIT`,
    ],
  },
  {
    name: "a change that is rolled back",
    statements: [
      `BEGIN; UPDATE $t SET a = -1 WHERE id = 1; SAVEPOINT s; ALTER TABLE $t ADD c int DEFAULT 3; UPDATE $t SET c = 4;
       ROLLBACK TO s; UPDATE $t SET a = -2 WHERE id = 2; COMMIT`,
    ],
  },
  { name: "VACUUM FULL", statements: ["VACUUM FULL $t", write] },
  {
    name: "indexes, constraints, defaults",
    statements: ["CREATE INDEX ON $t (a); ALTER TABLE $t ADD CHECK (id > 0), ALTER a SET DEFAULT 3", write],
  },
  {
    name: "TRUNCATE amid a transaction",
    statements: ["BEGIN; UPDATE $t SET a = 1; TRUNCATE $t; INSERT INTO $t VALUES (1, 1, 'new'); COMMIT", write],
  },
  {
    name: "TRUNCATE of several tables by CASCADE",
    statements: [
      "ALTER TABLE $u ADD FOREIGN KEY (t) REFERENCES $t",
      `BEGIN; UPDATE $t SET a = 1; INSERT INTO $u VALUES (100, 1); TRUNCATE $t CASCADE; INSERT INTO $t VALUES (1, 1);
       INSERT INTO $u VALUES (2, 1); COMMIT`,
    ],
  },
  {
    name: "ADD COLUMN with a volatile default",
    statements: ["ALTER TABLE $t ADD c int DEFAULT floor(random() * 1000)", write],
    snapshots: 2,
  },
  {
    name: "USING that keeps the type",
    statements: ["ALTER TABLE $t ALTER a TYPE int USING a * 2", write],
    snapshots: 2,
  },
  {
    // The other column may have been rewritten by USING.
    name: "a rewritten column beside another that was touched",
    statements: ["BEGIN; ALTER TABLE $t ALTER a TYPE bigint; ALTER TABLE $t RENAME b TO c; COMMIT", write],
    snapshots: 2,
    snapshotsAnnounced: 1,
  },
  {
    name: "a change before a large transaction, which is streamed before its commit",
    statements: [
      "ALTER TABLE $t ADD c int DEFAULT 3, DROP b",
      "BEGIN; INSERT INTO $t (id, a) SELECT n, n FROM generate_series(100, 2000) n; UPDATE $t SET c = 4 WHERE id % 2 = 0; COMMIT",
    ],
  },
  {
    // Its rows may come before the catalog shows what it has changed.
    name: "a change in a large transaction",
    statements: [
      "BEGIN; ALTER TABLE $t ADD c int DEFAULT 3; INSERT INTO $t (id, a, c) SELECT n, n, n FROM generate_series(100, 2000) n; COMMIT",
    ],
    snapshots: "either",
  },
  {
    name: "a column made again at its place in a large transaction",
    statements: [
      "BEGIN; ALTER TABLE $t DROP n, ADD n numeric(8,2); INSERT INTO $t (id, n) SELECT n, n FROM generate_series(100, 2000) n; COMMIT",
    ],
    snapshots: 2,
  },
  { name: "USING that no row follows", statements: ["ALTER TABLE $t ALTER a TYPE int USING a * 2"], snapshots: 2 },
  { name: "another type", statements: ["ALTER TABLE $t ALTER a TYPE text", "UPDATE $t SET a = 'x'"], snapshots: 2 },
  {
    name: "a column dropped and made again at another place",
    statements: ["ALTER TABLE $t DROP a, ADD a int", "UPDATE $t SET a = 1 WHERE id < 5"],
  },
  {
    // It may have been dropped and made again before the row, or after it.
    name: "a column dropped and made again at its place",
    statements: ["ALTER TABLE $t DROP n, ADD n numeric(8,2)", "UPDATE $t SET n = 1 WHERE id < 5"],
    snapshots: 2,
    snapshotsAnnounced: 1,
  },
  {
    name: "a column dropped and another made, unlike it",
    statements: ["ALTER TABLE $t DROP b, ADD c bigint DEFAULT 5", write],
  },
];

const identities = ["DEFAULT", "FULL"] as const;
const tableOf = (index: number, identity: string) => `${identity.toLowerCase()}_${index}`;

let postgres: TestPostgres;

beforeAll(async () => {
  postgres = await startPostgres({ settings: { logical_decoding_work_mem: "64kB" } });
});
afterAll(async () => {
  await postgres?.stop();
});

describe.each([false, true])("with changes announced by event triggers: %s", (announced) => {
  let gateway: GatewayUnderTest;
  let snapshots: Record<string, number>;
  let differences: string[];

  beforeAll(async () => {
    gateway = await GatewayUnderTest.create(postgres, {
      setup: setUp(announced),
      config: {
        // An announced one is followed whatever the option.
        schemaChanges: { onRewrittenWidening: announced ? "resnapshot" : "follow" },
      },
    });
    gateway.process.start();
    // Of every table its copy, one after the other.
    await gateway.caughtUp({ timeoutMs: 120_000 });
    for (const identity of identities) {
      for (const [index, { statements }] of cases.entries()) {
        const name = tableOf(index, identity);
        for (const statement of statements) {
          await gateway.client.query(statement.replaceAll("$t", name).replaceAll("$u", `${name}_u`));
        }
      }
    }
    // What no row follows is seen by the look at the catalog.
    const deadlineMs = Date.now() + 20_000;
    while ((await unsettled()).length > 0 && Date.now() < deadlineMs) await pause(200);
    snapshots = gateway.snapshots();
    differences = await gateway.differences();
  }, 120_000);

  async function unsettled(): Promise<string[]> {
    await gateway.caughtUp();
    const found = await gateway.differences();
    const again = cases.flatMap(({ name }, index) =>
      name === "USING that no row follows" ? identities.map((identity) => tableOf(index, identity)) : [],
    );
    return [...found, ...again.filter((name) => gateway.snapshots()[name] < 2)];
  }

  afterAll(async () => {
    await gateway?.close();
  });

  describe.each(identities)("with replica identity %s", (identity) => {
    it.each(cases.map((one, index) => ({ ...one, index })))("$name", (one) => {
      const name = tableOf(one.index, identity);
      expect(differences.filter((line) => new RegExp(`\\.${name}(_|:)`).test(line))).toEqual([]);
      const copied = Object.entries(snapshots).filter(([table]) => table === name || table === `${name}_renamed`);
      const unannounced = (identity === "FULL" ? one.snapshotsOfFull : undefined) ?? one.snapshots ?? 1;
      const expected = (announced ? one.snapshotsAnnounced : undefined) ?? unannounced;
      expect(copied).toHaveLength(1);
      if (expected === "either") expect([1, 2]).toContain(copied[0][1]);
      else expect(copied[0][1]).toBe(expected);
      expect(snapshots[`${name}_u`]).toBe(1);
    });
  });

  it("says in log and status why a table was copied again", () => {
    const status = gateway.process.status();
    const reasons = (status?.tables ?? []).flatMap((table) => (table.snapshots > 1 ? [table.snapshotReason] : []));
    expect(reasons.length).toBeGreaterThan(0);
    for (const reason of reasons) expect(reason).toMatch(/.../);
    expect(gateway.process.output).toContain("table-copied-again");
    expect(gateway.process.output).toContain("schema-followed");
  });
});

describe("killed while it follows", () => {
  it.each(["gateway.after-schema-file", "gateway.before-record", "gateway.after-record"])(
    "at %s, the gateway goes on without a new copy",
    async (failpoint) => {
      const gateway = await GatewayUnderTest.create(postgres, {
        setup:
          "CREATE TABLE t (id int PRIMARY KEY, a int); INSERT INTO t VALUES (1, 1), (2, 2); CREATE PUBLICATION p FOR TABLE t",
      });
      try {
        gateway.process.start();
        await gateway.caughtUp();
        await gateway.process.stop();
        gateway.process.start({ SLUICE_FAILPOINT: failpoint });
        await gateway.caughtUp();
        await gateway.client.query(
          "BEGIN; UPDATE t SET a = 3 WHERE id = 1; ALTER TABLE t ADD b text DEFAULT 'x', DROP a; COMMIT",
        );
        await gateway.client.query("INSERT INTO t (id) VALUES (3)");
        expect((await gateway.process.exited()).signal).toBe("SIGKILL");
        gateway.process.start();
        await gateway.caughtUp();
        await expect.poll(() => gateway.differences(), { timeout: 10_000 }).toEqual([]);
        expect(gateway.snapshots()).toEqual({ t: 1 });
      } finally {
        await gateway.close();
      }
    },
  );
});

describe("a partitioned table that is published by its root", () => {
  it("is followed, and copied again where its partitions were rewritten", async () => {
    const gateway = await GatewayUnderTest.create(postgres, {
      setup: `CREATE TABLE t (id int PRIMARY KEY, a int, b text) PARTITION BY RANGE (id);
       CREATE TABLE t1 (b text, id int NOT NULL, a int); ALTER TABLE t ATTACH PARTITION t1 FOR VALUES FROM (0) TO (10);
       CREATE TABLE t2 PARTITION OF t FOR VALUES FROM (10) TO (20);
       INSERT INTO t SELECT n, n, 'x' FROM generate_series(1, 15) n;
       CREATE PUBLICATION p FOR TABLE t WITH (publish_via_partition_root = true)`,
    });
    const copiesBy = async (statements: string) => {
      await gateway.client.query(statements);
      await gateway.client.query("UPDATE t SET a = a + 1 WHERE id IN (3, 13)");
      await gateway.caughtUp();
      await expect.poll(() => gateway.differences(), { timeout: 10_000 }).toEqual([]);
      return gateway.snapshots();
    };
    try {
      gateway.process.start();
      await gateway.caughtUp();
      expect(await copiesBy("ALTER TABLE t ADD c int DEFAULT 5")).toEqual({ t: 1 });
      expect(await copiesBy("ALTER TABLE t DROP b, ADD d numeric(6,2)")).toEqual({ t: 1 });
      expect(await copiesBy("ALTER TABLE t ADD e int DEFAULT floor(random() * 100)")).toEqual({ t: 2 });
      expect(await copiesBy("ALTER TABLE t ALTER a TYPE int USING a * 2")).toEqual({ t: 3 });
      // By default a wider type isn't trusted to be without USING, when all rows were written anew.
      expect(await copiesBy("ALTER TABLE t ALTER a TYPE bigint USING a * 3")).toEqual({ t: 4 });
    } finally {
      await gateway.close();
    }
  });
});

function setUp(announced: boolean): string {
  const tables = identities.flatMap((identity) =>
    cases.map((_, index) => ({ identity, name: tableOf(index, identity) })),
  );
  const made = tables.map(
    ({ identity, name }) => `
      CREATE TABLE ${name} (id int PRIMARY KEY, a int, b varchar(20), n numeric(8,2));
      CREATE TABLE ${name}_u (id int PRIMARY KEY, t int);
      INSERT INTO ${name} SELECT n, n * 10, 'b' || n, n / 4.0 FROM generate_series(1, 10) n;
      INSERT INTO ${name}_u SELECT n, n FROM generate_series(1, 3) n;
      ALTER TABLE ${name} REPLICA IDENTITY ${identity};`,
  );
  const published = tables.flatMap(({ name }) => [name, `${name}_u`]).join(", ");
  const triggers = announced ? installDdlCapture("p", "test") : [];
  return `CREATE SCHEMA other; ${made.join("")} CREATE PUBLICATION p FOR TABLE ${published}; ${triggers.join(";")}`;
}
