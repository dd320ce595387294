// Contract: each rule is a pure function over the checked inputs of a resource; it finds what it is for, says the remedy,
// and finds nothing in a stack that is right.
import { describe, expect, it } from "vitest";
import {
  cappedSlotRetention,
  defaultSettings,
  narrowFullIdentity,
  passwordByReference,
  protectedTables,
  type Rule,
  tlsOn,
} from "../../../provider/policy/rules";
import type { CatalogTable } from "../../../provider/typed/catalog";

const column = { type: "text", value: "text", nullable: true } as const;
const tableOf = (name: string, width: number): CatalogTable => ({
  schema: "public",
  name,
  kind: "table",
  key: [],
  columns: Object.fromEntries(Array.from({ length: width }, (_, index) => [`c${index}`, column])),
});
const widths = narrowFullIdentity([tableOf("narrow", 50), tableOf("wide", 51)]);
const anyWidth = narrowFullIdentity(null);

type Row = [name: string, rule: Rule, kind: string, inputs: Record<string, unknown>, expected: RegExp[]];
const remote = { host: "db.internal", password: { env: "PW" } };
const rows: Row[] = [
  ["no cap asked for", cappedSlotRetention, "Connection", {}, [/uncappedSlotWal: "error"/]],
  ["a warning only", cappedSlotRetention, "Connection", { uncappedSlotWal: "warn" }, [/uncappedSlotWal: "error"/]],
  ["a cap", cappedSlotRetention, "Connection", { uncappedSlotWal: "error" }, []],
  ["another resource", cappedSlotRetention, "Gateway", {}, []],

  ["a password's value", passwordByReference, "Connection", { password: "hunter2" }, [/^password is a value/]],
  ["a key's value", passwordByReference, "Connection", { sslKey: "-----" }, [/^sslKey is a value/]],
  [
    "a value in a source",
    passwordByReference,
    "Gateway",
    { source: { password: "hunter2" } },
    [/^password is a value/],
  ],
  ["a variable", passwordByReference, "Connection", remote, []],
  ["a file", passwordByReference, "Publication", { source: { password: { file: "/run/pw" } } }, []],
  ["none", passwordByReference, "IngestionPipeline", {}, []],

  [
    "plain",
    tlsOn,
    "Connection",
    { ...remote, sslMode: "disable" },
    [/^sslMode is disable for db.internal: nothing is enc/],
  ],
  ["plain in a source", tlsOn, "ReplicationSlot", { source: { ...remote, sslMode: "disable" } }, [/for db.internal/]],
  [
    "plain to a standby",
    tlsOn,
    "Connection",
    { host: "localhost", sslMode: "disable", failoverHosts: [{ host: "b" }] },
    [/for b:/],
  ],
  ["plain on loopback", tlsOn, "Connection", { host: "127.0.0.1", sslMode: "disable" }, []],
  ["encrypted", tlsOn, "Connection", { ...remote, sslMode: "require" }, []],
  ["its default", tlsOn, "Connection", remote, []],

  ["dropped tables", protectedTables, "IngestionPipeline", { onDelete: "drop" }, [/protect: true/]],
  ["kept tables", protectedTables, "IngestionPipeline", { onDelete: "keep" }, []],
  ["a dropped publication", protectedTables, "Publication", { onDelete: "drop" }, []],

  [
    "a wide table",
    widths,
    "Publication",
    { fullIdentity: [{ schema: "public", name: "wide" }] },
    [/public.wide, of 51 col/],
  ],
  [
    "a wide table's own identity",
    widths,
    "Publication",
    { tables: [{ schema: "public", name: "wide", replicaIdentity: "full" }] },
    [/public.wide, of 51 columns/],
  ],
  [
    "both say it",
    widths,
    "Publication",
    { fullIdentity: ["public.wide"], tables: [{ schema: "public", name: "wide", replicaIdentity: "full" }] },
    [/wide/],
  ],
  ["a narrow table", widths, "Publication", { fullIdentity: ["public.narrow"] }, []],
  ["another identity", widths, "Publication", { tables: [{ schema: "public", name: "wide" }] }, []],
  [
    "a table that nobody knows",
    anyWidth,
    "Publication",
    { fullIdentity: ["public.narrow"] },
    [/whose width isn't known/],
  ],
];

describe("a rule", () => {
  it.each(rows)("%s", (_, rule, kind, inputs, expected) => {
    const found = rule({ kind, inputs, isProtected: false }, defaultSettings);
    expect(found).toHaveLength(expected.length);
    expected.forEach((each, index) => {
      expect(found[index]).toMatch(each);
    });
    expect(found.join()).not.toContain("hunter2");
  });

  it("lets dropped tables be where something protects them", () => {
    expect(
      protectedTables({ kind: "IngestionPipeline", inputs: { onDelete: "drop" }, isProtected: true }, defaultSettings),
    ).toEqual([]);
  });

  it("goes by its settings", () => {
    const strict = { ...defaultSettings, sslModeMin: "verify-full", columnsMax: 49 } as const;
    const inputs = { ...remote, sslMode: "require" };
    expect(tlsOn({ kind: "Connection", inputs, isProtected: false }, strict)[0]).toContain("nobody checks who answers");
    const narrow = { kind: "Publication", inputs: { fullIdentity: ["public.narrow"] }, isProtected: false };
    expect(widths(narrow, strict)).toHaveLength(1);
  });
});
