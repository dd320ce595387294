// Contract: runApplier brings what is staged into Delta tables, each change exactly once (invariants 3 and 4): snapshots,
// changes of keyed and keyless tables, TRUNCATE, values that were not sent, new schemas; tables fail alone.
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { runApplier } from "../../../runtime/applier/applier";
import type { ApplierStatus } from "../../../runtime/status";
import { openDelta, readDeltaRows } from "../../support/delta-reader";
import { StagedLog, tableSchema } from "./staged-log";

const orders = tableSchema("100", "orders", { id: "long*", name: "string", amount: "decimal(12,2)" });
let log: StagedLog;

beforeEach(async () => {
  log = await StagedLog.open();
});
afterEach(() => log.close());

const options = { signal: new AbortController().signal, version: "0.0.0" };
const apply = () => runApplier(log.config(), options);
const status = () => JSON.parse(readFileSync(log.config().statusPath, "utf8")) as ApplierStatus;
const pathOf = (name: string) => join(log.destination, "public", name);

async function content(name: string): Promise<string[]> {
  const rows = await readDeltaRows(pathOf(name));
  return rows.map((row) => Object.values(row).map(String).join("|")).sort();
}

describe("runApplier", () => {
  it("joins a snapshot's files, then applies inserts, updates, deletes and changed keys", async () => {
    await log.snapshot(orders, [
      { id: "1", name: "'a'", amount: "1.50" },
      { id: "2", name: "'b'", amount: "2.50" },
      { id: "3", name: "'c'", amount: null },
    ]);
    await apply();
    expect(await content("orders")).toEqual(["1|a|1.50", "2|b|2.50", "3|c|null"]);
    await log.changes(orders, [
      { op: 0, row: { id: "4", name: "'d'" } },
      { op: 1, row: { id: "1", name: "'A'", amount: "9" } },
      { op: 2, row: { id: "2" } },
      { op: 3, row: { id: "3" } },
      { op: 1, row: { id: "30", name: "'c'" } },
    ]);
    await log.commit();
    await apply();
    expect(await content("orders")).toEqual(["1|A|9.00", "30|c|null", "4|d|null"]);
    expect(status().tables[0]).toMatchObject({
      rows: 3,
      upserted: 6,
      deleted: 1,
      state: { kind: "idle" },
      deltaVersion: 1,
    });
    expect(status()).toMatchObject({ stagedSequence: 2, appliedSequence: 2, appliedLsn: "0/3EB" });
    const { txns } = await openDelta(pathOf("orders"));
    expect(txns).toEqual({ [`sluice-${log.logId}-100`]: 2 });
  });

  it("makes one row of a key that a resumed snapshot holds twice, and none of one that is deleted or was never there", async () => {
    await log.schema(orders);
    log.begin(orders, "resumed");
    await log.rows(orders, "resumed", [
      { id: "1", name: "'older'" },
      { id: "2", name: "'untouched'" },
      { id: "3", name: "'older'" },
    ]);
    await log.commit();
    // Another process, another snapshot: rows 1 and 3 have moved into a range that wasn't copied yet.
    await log.changes(orders, [
      { op: 1, row: { id: "1", name: "'newer'" } },
      { op: 0, row: { id: "4", name: "'inserted'" } },
      { op: 2, row: { id: "3" } },
      { op: 2, row: { id: "5" } },
    ]);
    await log.rows(orders, "resumed", [
      { id: "1", name: "'newer'" },
      { id: "3", name: "'newer'" },
      { id: "4", name: "'inserted'" },
    ]);
    await log.commit();
    log.end(orders, "resumed", 6);
    await log.commit();
    await apply();
    expect(await content("orders")).toEqual(["1|newer|null", "2|untouched|null", "4|inserted|null"]);
  });

  it("shows the old content until a new snapshot's end is staged, then the new with the changes since its begin", async () => {
    await log.snapshot(orders, [{ id: "1", name: "'old'" }]);
    log.begin(orders, "second");
    await log.rows(orders, "second", [
      { id: "1", name: "'new'" },
      { id: "2", name: "'b'" },
    ]);
    await log.changes(orders, [{ op: 1, row: { id: "2", name: "'B'" } }]);
    await log.commit();
    await apply();
    expect(await content("orders")).toEqual(["1|old|null"]);
    expect(status()).toMatchObject({ stagedSequence: 2, appliedSequence: 2 });
    expect(status().tables[0].appliedSequence).toBe(1);
    await log.changes(orders, [{ op: 0, row: { id: "3", name: "'c'" } }]);
    await log.commit();
    await log.rows(orders, "second", [{ id: "9", name: "'z'" }]);
    log.end(orders, "second", 3);
    await log.changes(orders, [{ op: 2, row: { id: "1" } }]);
    await log.commit();
    await apply();
    expect(await content("orders")).toEqual(["2|B|null", "3|c|null", "9|z|null"]);
    const { version, files } = await openDelta(pathOf("orders"));
    expect(version).toBe(1);
    expect(files.map((file) => file.deleted).sort()).toEqual([0, 0]);
  });

  it("forgets an unfinished snapshot when a later one begins", async () => {
    await log.schema(orders);
    log.begin(orders, "void");
    await log.rows(orders, "void", [{ id: "1" }]);
    await log.changes(orders, [{ op: 0, row: { id: "5" } }]);
    await log.commit();
    await apply();
    expect(status().tables[0].state).toEqual({ kind: "waiting" });
    await log.snapshot(orders, [{ id: "2", name: "'b'" }], "true");
    await apply();
    expect(await content("orders")).toEqual(["2|b|null"]);
  });

  it("takes an empty snapshot, and changes into it", async () => {
    await log.snapshot(orders, []);
    await apply();
    expect(await content("orders")).toEqual([]);
    expect(status().tables[0]).toMatchObject({ rows: 0, deltaVersion: 0, state: { kind: "idle" } });
    await log.changes(orders, [{ op: 0, row: { id: "1", name: "'a'" } }]);
    await log.commit();
    await apply();
    expect(await content("orders")).toEqual(["1|a|null"]);
  });

  it("applies TRUNCATE in order", async () => {
    await log.snapshot(orders, [{ id: "1" }, { id: "2" }]);
    await log.changes(orders, [{ op: 0, row: { id: "3" } }]);
    log.event("truncate", orders);
    await log.changes(orders, [{ op: 0, row: { id: "2", name: "'again'" } }]);
    await log.commit();
    await apply();
    expect(await content("orders")).toEqual(["2|again|null"]);
  });

  it("keeps values that were not sent, through earlier changes and changed keys", async () => {
    await log.snapshot(orders, [
      { id: "1", name: "'one'", amount: "1" },
      { id: "2", name: "'two'", amount: "2" },
    ]);
    await apply();
    const unchanged = ["name"];
    await log.changes(orders, [
      { op: 1, row: { id: "1", amount: "10" }, unchanged }, // from the table
      { op: 3, row: { id: "2" } },
      { op: 1, row: { id: "20", amount: "20" }, unchanged }, // from the table, under the old key
      { op: 0, row: { id: "3", name: "'three'", amount: "3" } },
      { op: 1, row: { id: "3", amount: "30" }, unchanged }, // from the batch
      { op: 3, row: { id: "3" } },
      { op: 1, row: { id: "31", amount: "31" }, unchanged }, // from the batch, under the old key
      { op: 3, row: { id: "31" } },
      { op: 1, row: { id: "32", amount: "32" }, unchanged },
    ]);
    await log.changes(orders, [
      { op: 0, row: { id: "2", name: "'new two'", amount: "2" } }, // takes a key that another row gave up
      { op: 1, row: { id: "20", amount: "21" }, unchanged },
    ]);
    await log.commit();
    await apply();
    expect(await content("orders")).toEqual(["1|one|10.00", "20|two|21.00", "2|new two|2.00", "32|three|32.00"]);
    // Rows that were deleted where they stood hold older values of the same key.
    for (const name of ["'uno'", "'eins'"]) {
      await log.changes(orders, [{ op: 1, row: { id: "1", name, amount: "1" } }]);
      await log.commit();
      await apply();
    }
    await log.changes(orders, [{ op: 1, row: { id: "1", amount: "3" }, unchanged }]);
    await log.commit();
    await apply();
    expect((await content("orders"))[0]).toBe("1|eins|3.00");
    expect(await content("orders")).toHaveLength(4);
  });

  it("matches rows of a table without a key as a whole, one for one", async () => {
    const notes = tableSchema("200", "notes", { a: "double", b: "string" });
    const row = { a: "'nan'", b: null };
    await log.snapshot(notes, [row, row, row, { a: "'-0.0'", b: "'z'" }, { a: "0.0", b: "'z'" }, { a: null, b: null }]);
    await log.changes(notes, [
      { op: 2, row },
      { op: 2, row: { a: "0.0", b: "'z'" } },
      { op: 0, row: { a: "1.5", b: "'new'" } },
      { op: 0, row: { a: "1.5", b: "'new'" } },
      { op: 2, row: { a: "1.5", b: "'new'" } },
    ]);
    await log.commit();
    await apply();
    const rows = await readDeltaRows(pathOf("notes"));
    expect(rows.map(({ a }) => a).filter((a) => a !== null && Object.is(a, -0))).toHaveLength(1);
    expect(await content("notes")).toEqual(["0|z", "1.5|new", "NaN|null", "NaN|null", "null|null"]);
    await log.changes(notes, [
      { op: 2, row },
      { op: 2, row: { a: null, b: null } },
    ]);
    await log.commit();
    await apply();
    expect(await content("notes")).toEqual(["0|z", "1.5|new", "NaN|null"]);
  });

  it("follows added, dropped and renamed columns without rewriting files", async () => {
    await log.snapshot(orders, [{ id: "1", name: "'a'", amount: "1" }]);
    const wider = tableSchema("100", "orders", { id: "long*", title: "string", dropped: "string", note: "string" }, 2);
    wider.columns.splice(2, 1);
    await log.schemaChange(wider);
    await log.changes(wider, [{ op: 0, row: { id: "2", title: "'b'", note: "'n'" } }]);
    await log.commit();
    await apply();
    const { columns, files } = await openDelta(pathOf("orders"));
    expect(columns.map(({ name, physicalName }) => [name, physicalName])).toEqual([
      ["id", "c1"],
      ["title", "c2"],
      ["note", "c4"],
    ]);
    expect(files).toHaveLength(2);
    expect(await content("orders")).toEqual(["1|a|null", "2|b|n"]);
  });

  it("applies nothing twice, whatever it remembers", async () => {
    await log.snapshot(orders, [{ id: "1" }]);
    for (let id = 2; id < 6; id++) {
      await log.changes(orders, [{ op: 0, row: { id: String(id) } }]);
      await log.commit();
      await apply();
    }
    const before = await openDelta(pathOf("orders"));
    await apply();
    await log.store.delete("progress/test.json");
    await apply();
    await log.store.put("progress/test.json", "{ not JSON");
    await apply();
    expect((await openDelta(pathOf("orders"))).version).toBe(before.version);
    expect(await content("orders")).toHaveLength(5);
    // A table set back by hand takes again what it lacks, although the hint says otherwise.
    rmSync(join(pathOf("orders"), "_delta_log", `${String(before.version).padStart(20, "0")}.json`));
    await apply();
    expect((await openDelta(pathOf("orders"))).rowCount).toBe(5);
  });

  it("makes a table anew that was removed by hand", async () => {
    await log.snapshot(orders, [{ id: "1" }]);
    await apply();
    rmSync(pathOf("orders"), { recursive: true });
    await apply();
    expect(await content("orders")).toEqual(["1|null|null"]);
  });

  it("keeps a table that left the publication, and takes it up again with a new snapshot", async () => {
    await log.snapshot(orders, [{ id: "1" }]);
    log.event("removed", orders);
    await log.commit();
    await apply();
    expect(status().tables[0].state).toEqual({ kind: "removed" });
    await apply();
    expect(status().tables[0].state).toEqual({ kind: "removed" });
    expect(await content("orders")).toEqual(["1|null|null"]);
    await log.snapshot(orders, [{ id: "2" }]);
    await apply();
    expect(status().tables[0].state).toEqual({ kind: "idle" });
    expect(await content("orders")).toEqual(["2|null|null"]);
  });

  it("refuses a Delta table of others, and goes on with its own tables", async () => {
    const foreign = tableSchema("300", "foreign", { id: "long*" });
    mkdirSync(join(pathOf("foreign"), "_delta_log"), { recursive: true });
    const lines = [
      { protocol: { minReaderVersion: 1, minWriterVersion: 2 } },
      {
        metaData: {
          id: "x",
          format: { provider: "parquet" },
          schemaString: JSON.stringify({ type: "struct", fields: [] }),
          partitionColumns: [],
          configuration: {},
        },
      },
    ];
    const path = join(pathOf("foreign"), "_delta_log", `${"0".repeat(20)}.json`);
    writeFileSync(path, lines.map((line) => JSON.stringify(line)).join("\n"));
    await log.snapshot(foreign, [{ id: "1" }]);
    await log.snapshot(orders, [{ id: "1" }]);
    await expect(apply()).rejects.toMatchObject({ kind: "destination", remedy: expect.stringContaining("path") });
    expect(status().tables.find((table) => table.name === "foreign")?.state).toMatchObject({ kind: "quarantined" });
    expect(await content("orders")).toEqual(["1|null|null"]);
    expect(readdirSync(pathOf("foreign"))).toEqual(["_delta_log"]);
  });

  it("takes its tables over from an earlier staging log when their new snapshot is complete", async () => {
    await log.snapshot(orders, [{ id: "1" }]);
    await apply();
    const next = await StagedLog.open();
    try {
      const config = { ...next.config(), destination: log.config().destination };
      await next.schema(orders);
      next.begin(orders, "n");
      await next.commit();
      await runApplier(config, options);
      expect(await content("orders")).toEqual(["1|null|null"]);
      await next.rows(orders, "n", [{ id: "2" }]);
      next.end(orders, "n", 1);
      await next.commit();
      await runApplier(config, options);
      expect(await content("orders")).toEqual(["2|null|null"]);
      await log.changes(orders, [{ op: 0, row: { id: "3" } }]);
      await log.commit();
      await expect(apply()).rejects.toMatchObject({ message: expect.stringContaining("another pipeline") });
    } finally {
      next.close();
    }
  });

  it("copies into the folder of the new name when a table was renamed", async () => {
    await log.snapshot(orders, [{ id: "1" }]);
    await apply();
    const renamed = { ...orders, name: "../sales [1]", schemaId: 2 };
    await log.snapshot(renamed, [{ id: "2" }]);
    await apply();
    expect(await content("orders")).toEqual(["1|null|null"]);
    expect(await content("~2E.~2Fsales ~5B1~5D")).toEqual(["2|null|null"]);
    await log.changes(renamed, [{ op: 0, row: { id: "3" } }]);
    await log.commit();
    await log.store.delete("progress/test.json");
    await apply();
    expect(await content("~2E.~2Fsales ~5B1~5D")).toEqual(["2|null|null", "3|null|null"]);
  });

  it("gives a name to the table that has it by now, not to one that had it and is behind", async () => {
    const other = tableSchema("200", "old_orders", { id: "long*", name: "string" });
    await log.snapshot(orders, []);
    log.begin(orders, "second");
    await log.commit();
    // Within the unfinished snapshot the table is renamed, and the other one takes its name.
    await log.schemaChange({ ...orders, schemaId: 2, name: "archive" });
    await log.commit();
    await log.snapshot(other, [{ id: "7" }]);
    await log.schemaChange({ ...other, schemaId: 2, name: "orders" });
    await log.commit();
    await apply();
    expect(await content("orders")).toEqual(["7|null"]);
    await apply();
    expect(await content("orders")).toEqual(["7|null"]);
    expect(status()).toMatchObject({ appliedSequence: 5, stagedSequence: 5 });
    log.end(orders, "second");
    await log.commit();
    await apply();
    expect(await content("orders")).toEqual(["7|null"]);
    expect(await content("archive")).toEqual([]);
    expect(status().tables.map(({ state }) => state.kind)).toEqual(["idle", "idle"]);
  });

  it("looks only into files that can hold a changed key", async () => {
    for (let file = 0; file < 6; file++) {
      const rows = [1, 2, 3].map((id) => ({ op: 0 as const, row: { id: String(file * 10 + id), name: "'x'" } }));
      if (file === 0) await log.snapshot(orders, []);
      await log.changes(orders, rows);
      await log.commit();
      await apply();
    }
    const path = pathOf("orders");
    const { files } = await openDelta(path);
    const [lost] = files;
    const content = readFileSync(join(path, lost.path));
    const ids = (await readDeltaRows(path)).map(({ id }) => Number(id));
    expect(ids.sort((a, b) => a - b)[0]).toBe(1);
    rmSync(join(path, lost.path));
    writeFileSync(join(path, lost.path), Buffer.alloc(content.length));
    await log.changes(orders, [
      { op: 1, row: { id: "42", name: "'y'" } },
      { op: 2, row: { id: "53" } },
      { op: 1, row: { id: "51" }, unchanged: ["name"] },
    ]);
    await log.commit();
    await apply();
    writeFileSync(join(path, lost.path), content);
    const rows = (await readDeltaRows(path)).map(({ id, name }) => `${id} ${name}`).sort();
    expect(rows).toHaveLength(17);
    expect(rows).toEqual(expect.arrayContaining(["1 x", "42 y", "51 x"]));
  });

  it("writes checkpoints that say what the log says", async () => {
    const types = tableSchema("400", "types", {
      id: "long*",
      s: "short",
      i: "integer",
      f: "float",
      b: "binary",
      t: "boolean",
      d: "date",
      n: "timestamp_ntz",
      z: "timestamp",
      m: "decimal(38,18)",
    });
    const row = (id: number) => ({
      id: String(id),
      s: "-7",
      i: "8",
      f: "1.5",
      b: "'\\x00\\xFF'::BLOB",
      t: "true",
      d: "'1969-12-31'",
      n: "'2020-01-01 00:00:00.000001'",
      z: "'2020-01-01 00:00:00+00'",
      m: "-12345678901234567890.000000000000000001",
    });
    await log.snapshot(types, [row(0), row(1)]);
    for (let id = 2; id < 26; id++) {
      await log.changes(types, [
        { op: 0, row: row(id) },
        { op: 2, row: { id: String(id - 1) } },
      ]);
      await log.commit();
      await apply();
    }
    const [byCheckpoint, byLog] = [
      await openDelta(pathOf("types")),
      await openDelta(pathOf("types"), { fromCheckpoint: false }),
    ];
    expect(readdirSync(join(pathOf("types"), "_delta_log")).filter((name) => name.includes("checkpoint"))).toHaveLength(
      2,
    );
    expect({ ...byCheckpoint, batches: null }).toEqual({ ...byLog, batches: null });
    expect(await content("types")).toEqual([
      "0|-7|8|1.5|0,255|true|-1|1577836800000001|1577836800000000|-12345678901234567890.000000000000000001",
      "25|-7|8|1.5|0,255|true|-1|1577836800000001|1577836800000000|-12345678901234567890.000000000000000001",
    ]);
  });
});
