// Contract: what stands against a source is decided from its facts alone, each finding with the remedy that the server's
// flavour allows; a statement in a finding shows nothing of its literals.
// Invariant 6: no secret leaves the place it was given to.
import { describe, expect, it } from "vitest";
import { type Flavour, type FlavourMarks, flavourOf } from "../../../provider/postgres/flavour";
import { findLongTransactions, type OpenTransaction, queryHead } from "../../../provider/postgres/open-transactions";
import { type FindingOptions, findProblems, type UncappedSlotWal } from "../../../provider/postgres/preflight";
import type { SourceFacts } from "../../../provider/postgres/source-facts";
import fc, { propertyRuns } from "../../support/property";

const sound: SourceFacts = {
  flavour: "vanilla",
  logicalSwitchedOn: false,
  versionNumber: 180_000,
  version: "18.0",
  database: "shop",
  encoding: "UTF8",
  databaseOid: 5,
  user: "sluice",
  walLevel: "logical",
  slotsMax: 2,
  slotsUsed: 1,
  walSendersMax: 2,
  walSendersUsed: 1,
  inRecovery: false,
  slotWalKeepMegabytes: 1_000,
  superuser: false,
  replication: true,
  rdsReplication: false,
  createOnDatabase: true,
  hotStandbyFeedback: false,
  primarySlotName: "",
};

describe("findProblems", () => {
  const standby = { inRecovery: true, hotStandbyFeedback: true, primarySlotName: "s", createOnDatabase: false };
  const problems = (facts: Partial<SourceFacts>, options: FindingOptions = { needsSlot: true, allowStandby: false }) =>
    findProblems({ ...sound, ...facts }, options).map(({ severity, property, message }) => [
      severity,
      property,
      message,
    ]);

  it("finds none in a sound source", () => {
    expect(problems({})).toEqual([]);
    expect(problems({ flavour: "rds", replication: false, rdsReplication: true })).toEqual([]);
    expect(problems({ flavour: "aurora", replication: false, rdsReplication: true })).toEqual([]);
    expect(problems({ replication: false, superuser: true })).toEqual([]);
  });

  it.each<[Partial<SourceFacts>, string, string, RegExp]>([
    [{ versionNumber: 130_010, version: "13.10" }, "error", "host", /13\.10 is too old/],
    [{ walLevel: "replica" }, "error", "host", /wal_level is replica/],
    [{ inRecovery: true }, "error", "host", /standby/],
    [{ replication: false }, "error", "user", /may not replicate/],
    [{ replication: false, rdsReplication: true }, "error", "user", /may not replicate/],
    [{ createOnDatabase: false }, "error", "user", /may not create publications/],
    [{ slotsUsed: 2 }, "error", "host", /no free replication slot: 2 of max_replication_slots = 2/],
    [{ walSendersUsed: 2 }, "error", "host", /no free walsender/],
    [{ slotWalKeepMegabytes: -1 }, "warning", "host", /can fill the disk/],
  ])("finds %j", (facts, severity, property, message) => {
    expect(problems(facts)).toEqual([[severity, property, expect.stringMatching(message)]]);
  });

  it("asks for no free place when ours exist", () => {
    expect(problems({ slotsUsed: 2, walSendersUsed: 2 }, { needsSlot: false, allowStandby: false })).toEqual([]);
  });

  it.each<[Partial<SourceFacts>, string[]]>([
    [{}, []],
    [{ hotStandbyFeedback: false }, ["error"]],
    [{ primarySlotName: "" }, ["warning"]],
    [{ versionNumber: 150_000 }, ["error"]],
  ])("of an allowed standby finds, with %j, %j", (facts, severities) => {
    const found = problems({ ...standby, ...facts }, { needsSlot: true, allowStandby: true });
    expect(found.map(([severity]) => severity)).toEqual(severities);
  });

  it.each<[UncappedSlotWal, string[]]>([
    ["warn", ["warning"]],
    ["error", ["error"]],
    ["ignore", []],
  ])("of a server without a limit for slots makes, by %s, %j", (uncappedSlotWal, severities) => {
    const found = problems({ slotWalKeepMegabytes: -1 }, { needsSlot: true, allowStandby: false, uncappedSlotWal });
    expect(found.map(([severity]) => severity)).toEqual(severities);
  });

  it("tells the worst first", () => {
    const found = problems({ slotWalKeepMegabytes: -1, slotsUsed: 2, walLevel: "replica" });
    expect(found.map(([severity]) => severity)).toEqual(["error", "error", "warning"]);
  });
});

describe("remedies by flavour", () => {
  const remedies = (flavour: Flavour, facts: Partial<SourceFacts>) =>
    findProblems({ ...sound, flavour, ...facts }, { needsSlot: true, allowStandby: false }).map(({ remedy }) => remedy);

  // Typed so that a missing flavour doesn't compile.
  const expected: Record<Flavour, { logical: RegExp; replicate: RegExp; cap: RegExp; slots: RegExp }> = {
    vanilla: {
      logical: /^Run ALTER SYSTEM SET wal_level = 'logical' and restart/,
      replicate: /^Run ALTER ROLE "sluice" WITH REPLICATION as a superuser/,
      cap: /^Run ALTER SYSTEM SET max_slot_wal_keep_size = '50GB'.*pg_reload_conf/,
      slots: /or run ALTER SYSTEM SET max_replication_slots = '12' and restart/,
    },
    rds: {
      logical: /^Set rds\.logical_replication = 1 in the instance's own DB parameter group and reboot the instance/,
      replicate: /^Run GRANT rds_replication TO "sluice" as a member of rds_superuser/,
      cap: /^Set max_slot_wal_keep_size = 51200 .* DB parameter group\.$/,
      slots: /or set max_replication_slots = 12 in the instance's own DB parameter group and reboot/,
    },
    aurora: {
      logical:
        /^Set rds\.logical_replication = 1 in the cluster's own DB cluster parameter group and reboot the writer/,
      replicate: /^Run GRANT rds_replication TO "sluice" as a member of rds_superuser/,
      cap: /DB cluster parameter group\.$/,
      slots: /DB cluster parameter group and reboot the writer/,
    },
    azure: {
      logical: /^Set wal_level = logical in the server parameters .* and restart the server/,
      replicate: /^Run ALTER ROLE "sluice" WITH REPLICATION as a member of azure_pg_admin/,
      cap: /lets nobody change it.*uncappedSlotWal: "ignore"/,
      slots: /or set max_replication_slots = 12 in the server parameters/,
    },
    cloudsql: {
      logical: /^Set the flag cloudsql\.logical_decoding = on .*gcloud sql instances patch.*restarts/,
      replicate: /^Run ALTER ROLE "sluice" WITH REPLICATION as a member of cloudsqlsuperuser/,
      cap: /^Set the flag max_slot_wal_keep_size = 51200/,
      slots: /or set the flag max_replication_slots = 12/,
    },
    alloydb: {
      logical: /^Set the flag alloydb\.logical_decoding = on .*gcloud alloydb instances update.*restarts/,
      replicate: /^Run ALTER ROLE "sluice" WITH REPLICATION as a member of alloydbsuperuser/,
      cap: /^Set the flag max_slot_wal_keep_size = 51200/,
      slots: /or set the flag max_replication_slots = 12/,
    },
  };

  it.each(Object.entries(expected))("of %s", (name, { logical, replicate, cap, slots }) => {
    const flavour = name as Flavour;
    expect(remedies(flavour, { walLevel: "replica" })).toEqual([expect.stringMatching(logical)]);
    expect(remedies(flavour, { replication: false })).toEqual([expect.stringMatching(replicate)]);
    expect(remedies(flavour, { slotWalKeepMegabytes: -1 })).toEqual([expect.stringMatching(cap)]);
    expect(remedies(flavour, { slotsUsed: 2 })).toEqual([expect.stringMatching(slots)]);
  });

  it.each<[Flavour, RegExp]>([
    ["rds", /rds\.logical_replication is on, and takes effect with a restart: reboot the instance/],
    ["aurora", /reboot the cluster's writer/],
    ["cloudsql", /cloudsql\.logical_decoding is on/],
  ])("of %s that is only to be restarted", (flavour, remedy) => {
    expect(remedies(flavour, { walLevel: "replica", logicalSwitchedOn: true })).toEqual([
      expect.stringMatching(remedy),
    ]);
  });
});

describe("the flavour", () => {
  const none: FlavourMarks = { hasAuroraVersion: false, roles: [], prefixes: [] };

  it.each<[Partial<FlavourMarks>, Flavour]>([
    [{}, "vanilla"],
    [{ roles: ["rdsadmin", "rds_superuser"] }, "rds"],
    [{ prefixes: ["rds"] }, "rds"],
    [{ prefixes: ["rds"], hasAuroraVersion: true }, "aurora"],
    [{ roles: ["azure_pg_admin"] }, "azure"],
    [{ prefixes: ["azure"] }, "azure"],
    [{ roles: ["cloudsqlsuperuser"] }, "cloudsql"],
    [{ prefixes: ["cloudsql"] }, "cloudsql"],
    [{ roles: ["alloydbsuperuser", "cloudsqlsuperuser"], prefixes: ["alloydb", "cloudsql"] }, "alloydb"],
  ])("of %j is %s", (marks, flavour) => {
    expect(flavourOf({ ...none, ...marks })).toBe(flavour);
  });
});

describe("open transactions", () => {
  const open: OpenTransaction = {
    pid: 7,
    gid: null,
    user: "app",
    database: "shop",
    application: "billing",
    ageMs: 42_000,
    query: "UPDATE t SET a = 'canary-91'\n WHERE id = 1",
  };
  const found = (...transactions: Partial<OpenTransaction>[]) =>
    findLongTransactions(
      transactions.map((one) => ({ ...open, ...one })),
      { ageMsMin: 30_000, user: "sluice" },
    );

  it("that are long are told with pid, role, application, age and statement, and how to end them", () => {
    expect(found({})).toEqual([
      {
        severity: "warning",
        property: "host",
        message:
          "creating a slot would wait for the end of pid 7 (role app, database shop, application billing), open for 42 s: UPDATE t SET a = '…' WHERE id = 1",
        remedy: "End it in its application, or run SELECT pg_terminate_backend(7).",
      },
    ]);
    expect(found({ pid: null, gid: "g'1", application: "", query: "" })).toEqual([
      expect.objectContaining({
        message: expect.stringContaining("prepared transaction g'1 (role app, database shop), open for 42 s"),
        remedy: expect.stringContaining("ROLLBACK PREPARED 'g''1'"),
      }),
    ]);
  });

  it("that are short are ordinary; of unknown age they make one note", () => {
    expect(found({ ageMs: 29_999 })).toEqual([]);
    expect(found({ ageMs: null }, { ageMs: null })).toEqual([
      expect.objectContaining({
        severity: "note",
        message: expect.stringContaining("2 transactions of other roles"),
        remedy: 'Run GRANT pg_read_all_stats TO "sluice" to be told.',
      }),
    ]);
  });

  // Invariant 6: what a statement's literals hold is nobody's to see.
  it("show no literal of a statement, however it is quoted, commented or cut", () => {
    const written = fc.constantFrom(
      (text: string) => `'${text.replaceAll("'", "''")}'`,
      (text: string) => `E'${text.replaceAll("\\", "\\\\").replaceAll("'", "\\'")}'`,
      (text: string) => `$q$${text.replaceAll("$", "")}$q$`,
      (text: string) => `1 -- canary ${text.replaceAll("\n", "")}\n`,
      (text: string) => `1 /* canary ${text.replaceAll(/[*/]/g, "")} /* ' */ ' */`,
      () => `"it's"`,
    );
    const text = fc.string({ unit: fc.constantFrom("'", "\\", "-", "*", "a", '"', " "), maxLength: 8 });
    fc.assert(
      fc.property(fc.array(fc.tuple(written, text)), fc.nat(90), (literals, cut) => {
        const query = literals.map(([write, more]) => `SELECT ${write(`canary${more}`)}`).join(", ");
        expect(queryHead(query.slice(0, cut), 1_000)).not.toContain("canary");
      }),
      propertyRuns(500),
    );
  });
});
