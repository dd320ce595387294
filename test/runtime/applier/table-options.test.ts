// Contract: each table has the columns, the key, the name and the mode that its options say; what they leave out or hash
// is in no file of the destination (invariant 6); options that rows of before can't follow stop that table with the
// remedy, and the others go on.
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { runApplier } from "../../../runtime/applier/applier";
import { targetTable } from "../../../runtime/destination/target-table";
import type { ApplierStatus } from "../../../runtime/status";
import {
  defaultTableOptions,
  type NamedTableOptions,
  type TableMode,
  type TableOptions,
  tableModeSchema,
  tableOptionsListSchema,
} from "../../../runtime/table-options";
import { compareOptions } from "../../../runtime/table-options-change";
import { openDelta, readDeltaRows } from "../../support/delta-reader";
import { StagedLog, tableSchema } from "./staged-log";

let log: StagedLog;
beforeEach(async () => {
  log = await StagedLog.open();
});
afterEach(() => log.close());

const people = tableSchema("100", "people", { id: "long*", name: "string", ssn: "string", born: "date" });
const person = { id: "1", name: "'Ada'", ssn: "'078-05-1120'", born: "'1815-12-10'" };
const apply = (...tables: (Partial<NamedTableOptions> & { name: string })[]) =>
  runApplier(log.config({ tables: tables.map((table) => ({ ...defaultTableOptions, schema: "public", ...table })) }), {
    signal: new AbortController().signal,
    version: "0.0.0",
  });
const pathOf = (...parts: string[]) => join(log.destination, ...parts);
const status = () => JSON.parse(readFileSync(log.config().statusPath, "utf8")) as ApplierStatus;

async function columnsOf(path: string): Promise<string[]> {
  return (await openDelta(path)).columns.map(({ name }) => name);
}

/** Everything in the destination's files, as DuckDB reads it. */
async function everyByte(path: string): Promise<string> {
  const rows = await readDeltaRows(path);
  const files = readdirSync(path).filter((name) => name.endsWith(".parquet"));
  return JSON.stringify([
    rows.map((row) => Object.values(row).map(String)),
    files.map((name) => readFileSync(join(path, name), "latin1")),
  ]);
}

describe("columns", () => {
  it("that are excluded stay out, also under a later name", async () => {
    await log.snapshot(people, [person]);
    await apply({ name: "people", exclude: ["ssn"] });
    const columns = people.columns.map((column) => (column.name === "ssn" ? { ...column, name: "social" } : column));
    const renamed = { ...people, schemaId: 2, columns };
    await log.schemaChange(renamed);
    await log.changes(renamed, [{ op: 0, row: { id: "2", name: "'Bob'", social: "'219-09-9999'" } }]);
    await log.commit();
    await apply({ name: "people", exclude: ["ssn"] });
    expect(await columnsOf(pathOf("public", "people"))).toEqual(["id", "name", "born"]);
    expect((await readDeltaRows(pathOf("public", "people"))).map(({ id, name }) => `${id} ${name}`).sort()).toEqual([
      "1 Ada",
      "2 Bob",
    ]);
    expect(await everyByte(pathOf("public", "people"))).not.toMatch(/078-05|219-09/);
  });

  it("that are arrays are neither hashed nor a key by option", async () => {
    const tagged = tableSchema("103", "tagged", { id: "long", tags: "array<string>" });
    await log.snapshot(tagged, [{ id: "1", tags: "['a', NULL]" }]);
    await expect(apply({ name: "tagged", hash: ["tags"] })).rejects.toThrow("tags is an array, which can't be hashed");
    await expect(apply({ name: "tagged", key: ["tags"] })).rejects.toThrow("tags is an array, which can't be a key");
    await apply({ name: "tagged", metadataColumns: true });
    expect(await readDeltaRows(pathOf("public", "tagged"))).toMatchObject([{ id: 1n, tags: ["a", null] }]);
  });

  it("that are hashed are so from the snapshot on, in keys and in fills too", async () => {
    const accounts = tableSchema("101", "accounts", { email: "string*", balance: "long" });
    await log.snapshot(accounts, [{ email: "'a@x'", balance: "1" }]);
    const wider = tableSchema("101", "accounts", { email: "string*", balance: "long", iban: "string" }, 2);
    await log.schemaChange(wider, { iban: "'DE99'" });
    await log.changes(wider, [{ op: 1, row: { email: "'a@x'", balance: "2", iban: "'DE98'" } }]);
    await log.changes(wider, [{ op: 0, row: { email: "'b@x'", balance: "3", iban: null } }]);
    await log.commit();
    await expect(apply({ name: "accounts", hash: ["email", "iban"] })).rejects.toThrow("has no column iban");
    await apply({ name: "accounts", hash: ["email"], include: ["email", "balance"] });
    const rows = await readDeltaRows(pathOf("public", "accounts"));
    expect(rows.map(({ email, balance }) => `${String(email).slice(0, 8)} ${balance}`).sort()).toEqual([
      "68c79103 3",
      "bd39e6fe 2",
    ]);
    expect(await everyByte(pathOf("public", "accounts"))).not.toMatch(/@x|DE9/);
  });

  it("of ours tell a row's last change", async () => {
    await log.snapshot(people, [person, { ...person, id: "2" }]);
    await log.changes(people, [{ op: 1, row: { ...person, id: "2" } }]);
    await log.commit();
    await apply({ name: "people", metadataColumns: true });
    const rows = await readDeltaRows(pathOf("public", "people"));
    expect(rows.map((row) => [row.id, row._commit_lsn, row._commit_time]).sort()).toEqual([
      [1n, null, null],
      [2n, 1002n, 1_767_226_602_000_000n],
    ]);
  });

  it("that don't fit the table stop it alone, with the remedy", async () => {
    const notes = tableSchema("102", "notes", { text: "string" });
    const own = tableSchema("103", "own", { id: "long*", _deleted_at: "timestamp" });
    await log.snapshot(people, [person]);
    await log.snapshot(notes, [{ text: "'x'" }]);
    await log.snapshot(own, [{ id: "1" }]);
    const tables = [
      { name: "notes", mode: "scd2" as const },
      { name: "own", mode: "softDelete" as const },
      { name: "people", exclude: ["id"] },
    ];
    await expect(apply(...tables)).rejects.toMatchObject({ kind: "config" });
    expect(status().tables.map(({ state }) => (state.kind === "quarantined" ? state.message : state.kind))).toEqual([
      "table public.people: column id is in its key",
      "table public.notes has no key, which the mode scd2 needs",
      'table public.own has a column "_deleted_at", which is a name of ours',
    ]);
    await expect(apply(...tables.slice(0, 2))).rejects.toMatchObject({ remedy: expect.stringContaining("unique key") });
    expect(await readDeltaRows(pathOf("public", "people"))).toHaveLength(1);
  });
});

describe("a key option", () => {
  it("merges rows of a table without a key", async () => {
    const notes = tableSchema("102", "notes", { a: "long", b: "string" });
    await log.snapshot(notes, [
      { a: "1", b: "'x'" },
      { a: "2", b: "'y'" },
    ]);
    await log.changes(notes, [
      { op: 2, row: { a: "1", b: "'x'" } },
      { op: 0, row: { a: "1", b: "'z'" } },
      { op: 2, row: { a: "2", b: "'y'" } },
    ]);
    await log.commit();
    await apply({ name: "notes", key: ["a"], mode: "softDelete" });
    const rows = await readDeltaRows(pathOf("public", "notes"));
    expect(rows.map(({ a, b, _deleted_at }) => `${a} ${b} ${_deleted_at !== null}`).sort()).toEqual([
      "1 z false",
      "2 y true",
    ]);
  });
});

describe("a destination option", () => {
  it("gives a table another place, now and later", async () => {
    await log.snapshot(people, [person]);
    await apply({ name: "people" });
    await log.changes(people, [{ op: 0, row: { ...person, id: "2" } }]);
    await log.commit();
    await apply({ name: "people", destination: { schema: "hr", name: "staff" } });
    expect(await readDeltaRows(pathOf("hr", "staff"))).toHaveLength(2);
    expect(await readDeltaRows(pathOf("public", "people"))).toHaveLength(1);
    expect(status().tables[0]).toMatchObject({ schema: "public", name: "people", path: pathOf("hr", "staff") });
  });
});

describe("deletionVectors: false", () => {
  it("writes files with deleted rows anew, those of before too", async () => {
    const ids = ["1", "2", "3", "5", "6", "7", "8"];
    await log.snapshot(
      people,
      ids.map((id) => ({ ...person, id })),
    );
    await log.changes(people, [{ op: 2, row: { id: "1" } }]);
    await log.commit();
    await apply({ name: "people" });
    const path = pathOf("public", "people");
    expect((await openDelta(path)).files.map(({ deleted }) => deleted)).toEqual([1]);
    await log.changes(people, [{ op: 0, row: { ...person, id: "4" } }]);
    await log.commit();
    await apply({ name: "people", deletionVectors: false });
    await log.changes(people, [
      { op: 2, row: { id: "2" } },
      { op: 1, row: { ...person, id: "4" } },
    ]);
    await log.commit();
    await apply({ name: "people", deletionVectors: false });
    const { files, properties } = await openDelta(path);
    expect(files.every(({ deleted }) => deleted === 0)).toBe(true);
    expect(properties["delta.enableDeletionVectors"]).toBe("false");
    expect((await readDeltaRows(path)).map(({ id }) => id).sort()).toEqual([3n, 4n, 5n, 6n, 7n, 8n]);
    await log.snapshot({ ...people, tableId: "105", name: "plain" }, [person]);
    await apply({ name: "plain", deletionVectors: false });
    const text = readFileSync(join(pathOf("public", "plain"), "_delta_log", `${"0".repeat(20)}.json`), "utf8");
    expect(text).not.toContain('"deletionVectors"');
  });
});

describe("columnMapping: false", () => {
  it("has the columns' own names in files and log, and needs the first reader version only", async () => {
    const plain = { name: "people", columnMapping: false, deletionVectors: false };
    await log.snapshot(people, [person, { ...person, id: "2" }]);
    await log.changes(people, [{ op: 2, row: { id: "2" } }]);
    await log.commit();
    await apply(plain);
    const path = pathOf("public", "people");
    const text = readFileSync(join(path, "_delta_log", `${"0".repeat(20)}.json`), "utf8");
    expect(text).toContain('{"protocol":{"minReaderVersion":1,"minWriterVersion":2}}');
    expect(text).not.toContain("columnMapping.");
    expect((await openDelta(path)).columns.every(({ name, physicalName }) => name === physicalName)).toBe(true);
    expect((await readDeltaRows(path)).map(({ id }) => id)).toEqual([1n]);
  });

  it("refuses names that files can't have", async () => {
    for (const name of ["a b", "x;", "ID", "_position", "rowid"]) {
      const schema = { ...people, columns: people.columns.map((each, at) => (at === 1 ? { ...each, name } : each)) };
      expect(() => targetTable(schema, { ...defaultTableOptions, columnMapping: false })).toThrow("has a name");
      expect(() => targetTable(schema, defaultTableOptions)).not.toThrow();
    }
  });
});

describe("a change of options", () => {
  it("goes on in place where rows of before can, else asks for a new snapshot", async () => {
    await log.snapshot(people, [person]);
    await apply({ name: "people" });
    const change = async (id: number) => {
      await log.changes(people, [{ op: 0, row: { ...person, id: String(id) } }]);
      await log.commit();
    };
    await change(2);
    await apply({ name: "people", mode: "softDelete", metadataColumns: true });
    await change(3);
    await expect(apply({ name: "people", mode: "scd2" })).rejects.toMatchObject({
      message: "table public.people needs a new snapshot: its mode changes from softDelete to scd2",
      remedy: expect.stringContaining("sluice resync --config FILE --table public.people"),
    });
    expect(await readDeltaRows(pathOf("public", "people"))).toHaveLength(2);
    await log.snapshot(people, [person], "again");
    await apply({ name: "people", mode: "scd2" });
    expect(await columnsOf(pathOf("public", "people"))).toContain("valid_from");
    expect(await readDeltaRows(pathOf("public", "people"))).toHaveLength(1);
  });

  /** A cell that is missing doesn't compile. */
  const modes: Record<TableMode, Record<TableMode, string>> = {
    scd1: { scd1: "none", softDelete: "in-place", append: "refresh", scd2: "refresh" },
    softDelete: { scd1: "refresh", softDelete: "none", append: "refresh", scd2: "refresh" },
    append: { scd1: "refresh", softDelete: "refresh", append: "none", scd2: "refresh" },
    scd2: { scd1: "refresh", softDelete: "refresh", append: "refresh", scd2: "none" },
  };
  const pairs = tableModeSchema.options.flatMap((from) =>
    tableModeSchema.options.map((to) => ({ from, to, name: `${from}_${to}`, kind: modes[from][to] })),
  );

  it("from any mode to any other is decided, and done: the table is as one that was made so, or waits for its snapshot", async () => {
    const columns = { id: "long*", name: "string" };
    const row = (id: number) => ({ id: String(id), name: "'x'" });
    const schemas = pairs.map(({ name }, index) => tableSchema(String(300 + index), name, columns));
    for (const schema of schemas) {
      await log.snapshot(schema, [row(1), row(2)]);
      await log.changes(schema, [{ op: 2, row: { id: "1" } }]);
    }
    await log.commit();
    const to = pairs.map((pair) => ({ name: pair.name, mode: pair.to }));
    await apply(...pairs.map((pair) => ({ name: pair.name, mode: pair.from })));
    for (const schema of schemas) {
      await log.changes(schema, [
        { op: 2, row: { id: "2" } },
        { op: 0, row: row(3) },
      ]);
    }
    await log.commit();
    await expect(apply(...to)).rejects.toMatchObject({ kind: "config" });
    const waiting = status().tables.filter(({ state }) => state.kind === "quarantined");
    expect(waiting.map(({ name }) => name)).toEqual(
      pairs.filter(({ kind }) => kind === "refresh").map(({ name }) => name),
    );
    const shapes = async () =>
      Promise.all(
        pairs.map(async (pair) => {
          const rows = await readDeltaRows(pathOf("public", pair.name));
          const current = rows.filter((each) => each.is_current !== false && (each._deleted_at ?? null) === null);
          const shown = current
            .filter(({ _op }) => _op === undefined || _op === "snapshot")
            .map(({ id }) => Number(id));
          return { ...pair, columns: await columnsOf(pathOf("public", pair.name)), shown: shown.sort() };
        }),
      );
    for (const schema of schemas) await log.snapshot(schema, [row(4)], "again");
    await apply(...to);
    const made = new Map((await shapes()).filter(({ from, to }) => from === to).map((each) => [each.to, each.columns]));
    for (const { name, to: mode, columns: found, shown, kind } of await shapes()) {
      expect(found, name).toEqual(made.get(mode));
      // What append had before is still there, unless the snapshot was to begin anew.
      expect(shown, name).toEqual(mode === "append" && kind === "none" ? [1, 2, 4] : [4]);
      expect(
        compareOptions(options({ mode: pairs.find((pair) => pair.name === name)?.from }), options({ mode })).kind,
      ).toBe(kind);
    }
  });

  const options = (changes: Partial<NamedTableOptions>) => ({ ...defaultTableOptions, ...changes });
  type Cell = [from: Partial<TableOptions>, to: Partial<TableOptions>, kind: string];
  const cells: Record<keyof TableOptions, Cell[]> = {
    mode: pairs.map(({ from, to, kind }): Cell => [{ mode: from }, { mode: to }, kind]),
    include: [
      [{}, { include: ["a"] }, "refresh"],
      [{ include: ["a", "b"] }, { include: ["b", "a"] }, "none"],
    ],
    exclude: [
      [{}, { exclude: ["a"] }, "refresh"],
      [{ exclude: ["a"] }, {}, "refresh"],
    ],
    hash: [
      [{ hash: ["a", "b"] }, { hash: ["b", "a"] }, "none"],
      [{ hash: ["a"] }, {}, "refresh"],
    ],
    key: [[{ key: ["a"] }, { key: ["a", "b"] }, "refresh"]],
    partitionBy: [
      [{}, { partitionBy: ["a"] }, "refresh"],
      [{ partitionBy: ["a", "b"] }, { partitionBy: ["b", "a"] }, "refresh"],
    ],
    clusterBy: [[{ clusterBy: ["a", "b"] }, { clusterBy: ["b"] }, "in-place"]],
    destination: [
      [{}, { destination: { name: "x" } }, "in-place"],
      [{ destination: { schema: "x" } }, { destination: { name: "x" } }, "in-place"],
      [{}, { destination: {} }, "none"],
    ],
    metadataColumns: [
      [{}, { metadataColumns: true }, "in-place"],
      [{ metadataColumns: true }, {}, "in-place"],
    ],
    deletionVectors: [[{}, { deletionVectors: false }, "in-place"]],
    columnMapping: [
      [{}, { columnMapping: false }, "refresh"],
      [{ columnMapping: false }, {}, "refresh"],
    ],
    changeDataFeed: [[{}, { changeDataFeed: true }, "in-place"]],
    beforeImage: [[{ mode: "append" }, { mode: "append", beforeImage: true }, "in-place"]],
    onRemove: [[{}, { onRemove: "drop" }, "none"]],
    onChange: [[{}, { onChange: "refresh" }, "none"]],
  };
  it.each(Object.values(cells).flat())("from %j to %j: %s", (from, to, kind) =>
    expect(compareOptions(options(from), options(to)).kind).toBe(kind),
  );

  it("several at a time are told together", () => {
    expect(compareOptions(options({}), options({ mode: "scd2", hash: ["a"], metadataColumns: true }))).toEqual({
      kind: "refresh",
      reason: "its mode changes from scd1 to scd2, its hash columns change",
    });
    expect(compareOptions(options({}), options({ mode: "softDelete", metadataColumns: true }))).toEqual({
      kind: "in-place",
      options: ["mode", "metadataColumns"],
    });
  });
});

describe("the list of options", () => {
  it.each([
    [[{ name: "a" }, { name: "a" }], "given twice"],
    [[{ name: "a" }, { name: "b", destination: { name: "a" } }], "two tables have the destination"],
    [[{ name: "a", include: ["x"], exclude: ["y"] }], "not both"],
    [[{ name: "a", mode: "scd2", beforeImage: true }], "for the mode append"],
  ])("%j is refused", (tables, message) => {
    const parsed = tableOptionsListSchema.safeParse(tables.map((table) => ({ schema: "public", ...table })));
    expect(parsed.error?.issues[0].message).toContain(message);
  });
});
