// Contract: a table of any mode with a missing or damaged data file, deletion vector or log is quarantined with a reason
// that names the file, and holds up no other. A new snapshot heals it; where history would go with what is damaged, only
// once that is accepted, and only what is damaged goes (invariants 3 and 4).
import {
  existsSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { basename, join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { runApplier } from "../../../runtime/applier/applier";
import { type ApplierConfig, maintenanceSchema } from "../../../runtime/config";
import { findDamaged } from "../../../runtime/destination/damaged-files";
import { DeltaTable } from "../../../runtime/destination/delta/delta-table";
import { DuckDbSession, isOutOfMemory, parquet } from "../../../runtime/destination/duckdb-session";
import { acceptHistoryLoss } from "../../../runtime/staging/history-loss";
import type { ApplierStatus } from "../../../runtime/status";
import { defaultTableOptions, type TableMode, tableModeSchema } from "../../../runtime/table-options";
import { readDeltaRows } from "../../support/delta-reader";
import { eagerMaintenance } from "./eager-maintenance";
import { StagedLog, tableSchema } from "./staged-log";

const orders = tableSchema("100", "orders", { id: "long*", name: "string" });
const items = tableSchema("200", "items", { id: "long*" });
let log: StagedLog;
beforeEach(async () => {
  log = await StagedLog.open();
});
afterEach(() => log.close());

const still = maintenanceSchema.parse({ compaction: false, vacuum: false });
const apply = (mode: TableMode, more: Partial<ApplierConfig> = {}) =>
  runApplier(
    log.config({
      maintenance: still,
      tables: [{ ...defaultTableOptions, schema: "public", name: "orders", mode }],
      ...more,
    }),
    { signal: new AbortController().signal, version: "0.0.0" },
  );
const folder = () => join(log.destination, "public", "orders");
const commitPath = (version: number) => join(folder(), "_delta_log", `${String(version).padStart(20, "0")}.json`);
const tableOf = (name: string) =>
  (JSON.parse(readFileSync(log.config().statusPath, "utf8")) as ApplierStatus).tables.find(
    (table) => table.name === name,
  );
const message = () => {
  const state = tableOf("orders")?.state;
  return state?.kind === "quarantined" ? `${state.message} ${state.remedy}` : state?.kind;
};
const row = (id: number, letter = "a") => ({ id: String(id), name: `'${letter}${id}'` });
const ids = Array.from({ length: 1_000 }, (_, index) => index + 1);

/** A first file with a vector of its own, except in the mode append, and later ones. */
async function applied(mode: TableMode): Promise<void> {
  await log.snapshot(
    orders,
    ids.map((id) => row(id)),
  );
  await log.snapshot(items, [{ id: "1" }]);
  await apply(mode);
  const thirds = ids.filter((id) => id % 3 === 0);
  await log.changes(orders, [
    ...thirds.map((id) => ({ op: 2 as const, row: { id: String(id) } })),
    { op: 1, row: row(1, "b") },
  ]);
  await log.commit();
  await apply(mode);
}

const largest = (extension: string) =>
  readdirSync(folder())
    .filter((name) => name.endsWith(extension))
    .map((name) => join(folder(), name))
    .sort((a, b) => statSync(b).size - statSync(a).size)[0];

/** Not in place: a staged file may be the same by a hard link. */
function spoil(path: string, change: (content: Buffer) => void): void {
  const content = readFileSync(path);
  change(content);
  rmSync(path);
  writeFileSync(path, content);
}

const damages = {
  "a deleted file": () => {
    const path = largest(".parquet");
    rmSync(path);
    return path;
  },
  "a truncated file": () => {
    const path = largest(".parquet");
    spoil(path, () => {});
    truncateSync(path, statSync(path).size >> 1);
    return path;
  },
  "flipped bytes in a file": () => {
    const path = largest(".parquet");
    spoil(path, (content) => content.fill(0xff, 40, content.length >> 1));
    return path;
  },
  "a deleted vector": () => {
    const path = largest(".bin");
    rmSync(path);
    return path;
  },
  "flipped bytes in a vector": () => {
    const path = largest(".bin");
    spoil(path, (content) => content.writeUInt8(content[content.length >> 1] ^ 0xff, content.length >> 1));
    return path;
  },
};

/** SLUICE_DAMAGES=all: each with each. */
const few: Record<TableMode, (keyof typeof damages)[]> = {
  scd1: ["a truncated file", "flipped bytes in a vector"],
  softDelete: ["a deleted file", "flipped bytes in a vector"],
  append: ["a deleted file", "flipped bytes in a file"],
  scd2: ["flipped bytes in a file", "a deleted vector"],
};
const cases = tableModeSchema.options.flatMap((mode) =>
  (Object.keys(damages) as (keyof typeof damages)[])
    .filter((what) =>
      process.env.SLUICE_DAMAGES === "all" ? mode !== "append" || !what.includes("vector") : few[mode].includes(what),
    )
    .map((what) => ({ mode, what })),
);

describe("a table with damaged data", () => {
  it("with rows that are too large for the memory isn't taken for damaged, and is when it is", async () => {
    const large = "(SELECT string_agg(md5(k::VARCHAR), '') FROM range(500000) r(k))";
    await log.snapshot(orders, [{ id: "1", name: large }, row(2)]);
    await apply("append");
    const session = await DuckDbSession.open({
      memoryBytesMax: 20 * 1024 * 1024,
      temporaryPath: join(log.folder, "small", "spill"),
    });
    try {
      const delta = await DeltaTable.open(folder(), session);
      const search = () => findDamaged(delta, session, { max: 1, untilMs: Number.POSITIVE_INFINITY });
      const [{ path }] = delta.snapshot.files.values();
      const rows = session.rows(`SELECT max(hash(f)) FROM ${parquet([join(folder(), path)])} f`);
      await expect(rows).rejects.toSatisfy(isOutOfMemory);
      expect(await search()).toEqual([]);
      damages["flipped bytes in a file"]();
      expect(await search()).toMatchObject([{ path, rows: 2, reason: expect.stringContaining("is damaged") }]);
    } finally {
      await session.close();
    }
  });

  it.each(cases)("of the mode $mode with $what is healed by a new snapshot", async ({ mode, what }) => {
    await applied(mode);
    const path = damages[what]();
    await log.changes(orders, [{ op: 1, row: row(4, "c") }]);
    await log.changes(items, [{ op: 0, row: { id: "2" } }]);
    await log.commit();
    // What a mode never reads again shows when files are written anew.
    if (mode === "append" && what.startsWith("flipped")) await apply(mode, { maintenance: eagerMaintenance });
    await expect(apply(mode)).rejects.toMatchObject({ kind: "destination" });
    expect(message()).toContain(basename(path));
    expect(message()).toContain("sluice resync --config FILE --table public.orders");
    expect(tableOf("items")).toMatchObject({ rows: 2, state: { kind: "idle" } });
    // It stays so over a restart, with nothing new.
    await expect(apply(mode)).rejects.toMatchObject({ kind: "destination" });

    const now = ids.filter((id) => id % 3 !== 0).map((id) => row(id, id === 4 ? "c" : id === 1 ? "b" : "a"));
    await log.snapshot(orders, now, "again");
    await log.changes(orders, [{ op: 0, row: row(2_000) }]);
    await log.commit();
    if (mode !== "scd1") {
      await expect(apply(mode)).rejects.toMatchObject({ remedy: expect.stringContaining("--accept-history-loss") });
      await acceptHistoryLoss(log.store, "test", "100");
    }
    await apply(mode);
    expect(tableOf("orders")?.state).toEqual({ kind: "idle" });
    expect(await log.store.list("requests/history-loss/test")).toEqual([]);
    const rows = await readDeltaRows(folder());
    const live = rows.filter(
      ({ _deleted_at, is_current, _op, _commit_lsn }) =>
        (_deleted_at ?? null) === null &&
        is_current !== false &&
        (_op === undefined || (_commit_lsn as bigint) > 1_006n || _op === "snapshot"),
    );
    expect(live.map(({ name }) => name).sort()).toEqual([...now.map(({ name }) => name.slice(1, -1)), "a2000"].sort());
    // Only what was in the damaged file is gone.
    const kept = { scd1: 0, softDelete: 333, append: 335, scd2: 334 }[mode];
    expect(rows.length - live.length).toBe(kept);
  });

  it("goes on where it was when the file is put back, and nothing is lost", async () => {
    await applied("scd2");
    const path = largest(".parquet");
    renameSync(path, `${path}.away`);
    await log.changes(orders, [{ op: 1, row: row(4, "c") }]);
    await log.commit();
    await expect(apply("scd2")).rejects.toMatchObject({ message: expect.stringContaining("is missing") });
    renameSync(`${path}.away`, path);
    await apply("scd2");
    expect(tableOf("orders")).toMatchObject({ state: { kind: "idle" }, rows: 1_002 });
  });

  it("loses nothing by what was accepted before it was damaged", async () => {
    await applied("softDelete");
    await acceptHistoryLoss(log.store, "test", "100");
    await pause(5);
    damages["a deleted file"]();
    await log.snapshot(orders, [row(1)], "again");
    await expect(apply("softDelete")).rejects.toMatchObject({ remedy: expect.stringContaining("--accept") });
  });
});

describe("a table with a damaged log", () => {
  const logs = {
    "a truncated commit": () => truncateSync(commitPath(1), 100),
    "a missing commit": () => rmSync(commitPath(0)),
  };
  it.each([
    ["append", "a truncated commit"],
    ["softDelete", "a missing commit"],
  ] as const)("of the mode %s with %s begins anew with what staging has, once that is accepted", async (mode, what) => {
    await applied(mode);
    logs[what]();
    await expect(apply(mode)).rejects.toMatchObject({ kind: "destination" });
    expect(message()).toMatch(/_delta_log.*(damaged|missing)/);
    await log.snapshot(orders, [row(7)], "again");
    await expect(apply(mode)).rejects.toMatchObject({
      remedy: expect.stringMatching(/--accept-history-loss.*\.sluice\/damaged/),
    });
    expect(existsSync(join(log.destination, ".sluice", "damaged"))).toBe(false);
    await acceptHistoryLoss(log.store, "test", "100");
    await apply(mode);
    // Staging still has all of it.
    expect((await readDeltaRows(folder())).length).toBe(mode === "append" ? 1_335 : 1_000);
    expect(readdirSync(join(log.destination, ".sluice", "damaged"))).toHaveLength(1);
  });

  it("that only a later version of us can read is left as it is", async () => {
    await applied("scd1");
    rmSync(commitPath(0));
    const name = `${"0".repeat(19)}1.checkpoint.3a0d65cd-4056-49b8-937b-95f9e3ee90e5.parquet`;
    writeFileSync(join(folder(), "_delta_log", name), "PAR1");
    await log.snapshot(orders, [row(7)], "again");
    await expect(apply("scd1")).rejects.toMatchObject({
      kind: "unsupported",
      message: expect.stringContaining("checkpoints of the kind v2"),
    });
    expect(existsSync(join(log.destination, ".sluice", "damaged"))).toBe(false);
  });
});
