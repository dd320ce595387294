// The source of a declarative pipeline over staged logs, its engine played by test/support/declarative_pipelines.py: what Spark
// lacks of Databricks, random histories, and what is refused. Tables equal the local applier's, row for row.
// Usage: declarative-by-rules PYTHON; its virtual environment has pyspark[pipelines].
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Expectation, pipelineSource } from "../../provider/declarative/pipeline-source";
import { runApplier } from "../../runtime/applier/applier";
import type { TableSchema } from "../../runtime/change/table-schema";
import { purgeRead } from "../../runtime/staging/read-purge";
import { logKey } from "../../runtime/staging/staged-commit";
import { defaultTableOptions, type NamedTableOptions } from "../../runtime/table-options";
import { type Change, type Sql, StagedLog, tableSchema } from "../runtime/applier/staged-log";
import { ModelTable, type Step } from "../runtime/applier/staged-model";
import { canonicalField } from "../support/canonical-value";
import { openDelta, readDeltaRows } from "../support/delta-reader";
import { Random } from "../support/random";
import { difference, LaneReport } from "./lane-report";
import { SparkSession, spawnScript } from "./spark-session";

const columns = { id: "long*", name: "string", amount: "double" };
const types: Record<string, string> = { id: "long", name: "string", amount: "double" };

const options = (name: string, changes: Partial<NamedTableOptions> = {}): NamedTableOptions => ({
  ...defaultTableOptions,
  schema: "public",
  name,
  ...changes,
});

/** The engine, in a process of its own. */
class Engine extends SparkSession {
  static async open(python: string, folder: string): Promise<Engine> {
    const engine = new Engine(spawnScript(python, "../support/declarative_pipelines.py", folder));
    await engine.started();
    return engine;
  }

  async update(request: { update: string; pipeline: string; refresh?: string[]; full_refresh?: string[] }) {
    return (await this.ask(request)) as { errors: Record<string, string>; dropped: Record<string, number> };
  }

  async poll(request: { poll: string; pipeline: string }) {
    return (await this.ask(request)) as { errors: Record<string, string> };
  }

  async rows(pipeline: string, rows: string, columns: [string, string][]): Promise<string[]> {
    return (await this.ask({ pipeline, rows, columns })).lines ?? [];
  }
}

/** A staged log, a pipeline that follows it, and what the local applier makes of the same log. */
class Bench {
  private constructor(
    private readonly engine: Engine,
    readonly log: StagedLog,
    private readonly report: LaneReport,
    private readonly tables: NamedTableOptions[],
    private readonly source: string,
  ) {}

  static async open(
    engine: Engine,
    report: LaneReport,
    tables: NamedTableOptions[],
    expectations: Expectation[] = [],
  ): Promise<Bench> {
    const log = await StagedLog.open();
    const source = join(log.folder, "pipeline.py");
    const declared = tables.map(({ schema, name, ...each }) => ({ schema, name, options: each, expectations }));
    const { stagingPath } = log.config();
    writeFileSync(source, pipelineSource({ stagingPath, catalog: "main", schema: "lake", tables: declared }));
    return new Bench(engine, log, report, tables, source);
  }

  async update(request: { refresh?: string[]; full_refresh?: string[] } = {}) {
    return this.engine.update({ update: this.source, pipeline: this.log.folder, ...request });
  }

  async updated(what: string, request: { refresh?: string[]; full_refresh?: string[] } = {}): Promise<void> {
    const { errors } = await this.update(request);
    this.report.check(
      what,
      Object.entries(errors).map(([table, text]) => `${table}: ${text}`),
    );
  }

  /** The next batch of a pipeline that runs for good. */
  async polled(what: string, pattern = /^$/): Promise<void> {
    const { errors } = await this.engine.poll({ poll: this.source, pipeline: this.log.folder });
    const text = Object.values(errors).join();
    this.report.check(what, pattern.test(text) ? [] : [text || "nothing was refused"]);
  }

  async refused(what: string, table: string, pattern: RegExp, full = false): Promise<void> {
    const { errors } = await this.update(full ? { full_refresh: [table] } : { refresh: [table] });
    const text = errors[table] ?? "it was not";
    this.report.check(what, pattern.test(text) ? [] : [text]);
  }

  lines(table: string, described: [string, string][]): Promise<string[]> {
    return this.engine.rows(this.log.folder, table, described);
  }

  async ids(table: string): Promise<string> {
    const { mode, metadataColumns } = this.tables.find(({ name }) => name === table) as NamedTableOptions;
    const lines = await this.lines(table, described(mode, metadataColumns));
    return lines
      .map((line) => line.split("\t")[0])
      .sort()
      .join();
  }

  async has(what: string, table: string, ids: string): Promise<void> {
    const found = await this.ids(table);
    this.report.check(what, found === ids ? [] : [`${found}, not ${ids}`]);
  }

  /** @returns rows of the tables together */
  async equal(what: string): Promise<number> {
    const { log, tables } = this;
    const abort = { signal: new AbortController().signal, version: "0.0.0" };
    await runApplier({ ...log.config({ tables }), id: "local" }, abort);
    let rows = 0;
    for (const { name, mode, metadataColumns } of tables) {
      const columns = described(mode, metadataColumns);
      const path = join(log.destination, "public", name);
      const found = await this.lines(name, columns);
      rows += found.length;
      const problems = difference(found, await linesOf(path, columns));
      const { columns: local } = await openDelta(path);
      const names = local.map((column) => column.name).filter((each) => !each.startsWith("valid_"));
      if (
        names.sort().join() !==
        columns
          .map(([each]) => each)
          .sort()
          .join()
      )
        problems.push(`columns ${names}`);
      this.report.check(`${what}: ${name} (${mode}) equals the local applier's, ${found.length} rows`, problems);
    }
    return rows;
  }

  close(): void {
    this.log.close();
  }
}

/** Columns of a table by its mode; of a version those by which it is told from others, without times. */
function described(mode: NamedTableOptions["mode"], metadataColumns: boolean): [string, string][] {
  const own = Object.entries(types);
  if (mode === "scd2") return [...own, ["_commit_lsn", "long"], ["_ordinal", "long"], ["is_current", "boolean"]];
  if (mode === "append") {
    own.push(["_op", "string"], ["_commit_lsn", "long"], ["_ordinal", "long"], ["_commit_time", "timestamp"]);
  } else if (metadataColumns) own.push(["_commit_lsn", "long"], ["_commit_time", "timestamp"]);
  return own;
}

/** The local applier's rows. A version of a snapshot's row has no position in the stream. */
async function linesOf(path: string, columns: [string, string][]): Promise<string[]> {
  const isHistory = columns.some(([name]) => name === "is_current");
  return (await readDeltaRows(path)).map((row) => {
    const told: Record<string, unknown> = isHistory && row._ordinal === null ? { ...row, _commit_lsn: null } : row;
    return columns.map(([name, type]) => canonicalField(told[name], type)).join("\t");
  });
}

/**
 * Random sources: with snapshots begun again in between, TRUNCATE, streamed transactions, rolled back ones, keys that move;
 * updates come in between, and full refreshes of one table.
 */
async function histories(engine: Engine, report: LaneReport, seed: number, rounds: number): Promise<void> {
  const numbers = new Random(seed);
  const pick = (below: number) => numbers.between(0, below - 1);
  const tables = [
    options("upserted", { metadataColumns: true }),
    options("versions", { mode: "scd2" }),
    options("told", { mode: "append", beforeImage: true }),
    options("keyless", { mode: "append" }),
  ];
  const bench = await Bench.open(engine, report, tables);
  try {
    const models = tables.map(({ name, mode, beforeImage }, at) => {
      const schema = tableSchema(String(at + 1), name, name === "keyless" ? { ...columns, id: "long" } : columns);
      return { mode, model: new ModelTable(bench.log, schema, name !== "keyless", beforeImage) };
    });
    for (const { model } of models) await model.start();
    const kinds: Step["kind"][] = ["insert", "insert", "insert", "update", "update", "rekey", "delete", "commit"];
    let [rows, isOpen] = [0, false];
    for (let round = 0; round < rounds; round++) {
      for (const { model, mode } of models) {
        for (let at = 0; at < 14; at++) {
          const step: Step = { kind: kinds[pick(kinds.length)], pick: pick(1000), value: pick(500) * 2 };
          if (step.kind !== "rekey" || numbers.between(0, 1) === 1) await model.step(step);
          if (mode !== "scd2" && pick(40) === 0) await model.step({ kind: "truncate", pick: 0, value: 0 });
          // A snapshot that is open at the end of an update is gone on with by the next one.
          if (mode === "scd1" && pick(10) === 0) {
            await model.step({ kind: isOpen ? "end" : "begin", pick: pick(1000), value: pick(1000) });
            isOpen = !isOpen;
          }
        }
        await model.commit();
      }
      await bench.updated(`seed ${seed}, round ${round}: an update`);
      // The local applier, whose turn is later, hasn't told what it needs.
      await purgeRead(bench.log.store, { beforeMs: Date.now() + 1, pastSnapshots: false, isDry: false });
      rows += await bench.equal(`seed ${seed}, round ${round}`);
      if (pick(3) === 0) {
        await bench.updated(`seed ${seed}, round ${round}: a full refresh`, { full_refresh: ["upserted", "versions"] });
        await bench.equal(`seed ${seed}, round ${round}, refreshed`);
      }
    }
    report.check(`seed ${seed}: there were rows`, rows > 0 ? [] : ["none"]);
  } finally {
    bench.close();
  }
}

interface Refusal {
  what: string;
  changes?: Partial<NamedTableOptions>;
  disturb(log: StagedLog, table: TableSchema): Promise<TableSchema>;
  pattern: RegExp;
}

const refusals: Refusal[] = [
  {
    what: "an unchanged long value",
    disturb: async (log, table) => {
      await log.changes(table, [{ op: 1, row: { id: "1", amount: "2.0" }, unchanged: ["name"] }]);
      return table;
    },
    pattern: /public\.t: an update left out a long value.*REPLICA IDENTITY FULL.*sluice resync/s,
  },
  {
    what: "TRUNCATE of a history",
    changes: { mode: "scd2" },
    disturb: async (log, table) => {
      log.event("truncate", table);
      return table;
    },
    pattern: /public\.t: it was truncated.*sluice resync/s,
  },
  {
    what: "a new snapshot of a history",
    changes: { mode: "scd2" },
    disturb: async (log, table) => {
      await log.snapshot(table, [{ id: "1" }], "second");
      return table;
    },
    pattern: /public\.t: it has a new snapshot.*Refresh the table in full/s,
  },
  {
    what: "a column under another name",
    disturb: async (log, table) => {
      const renamed = structuredClone(table);
      renamed.schemaId = 2;
      renamed.columns[1].name = "title";
      await log.schemaChange(renamed);
      return renamed;
    },
    pattern: /public\.t: column title is another now.*sluice resync/s,
  },
  {
    what: "values of a new column in rows of before",
    disturb: async (log, table) => {
      const wider = structuredClone(table);
      wider.schemaId = 2;
      wider.columns.push({ ...table.columns[1], attributeNumber: 4, physicalName: "c4", name: "colour" });
      await log.schemaChange(wider, { colour: "'red'" });
      return wider;
    },
    pattern: /public\.t: a column came with a value for the rows of before.*sluice resync/s,
  },
];

/** What AUTO CDC can't tell stops the table, by name and with its remedy; a full refresh behind a new snapshot mends it. */
async function refuses(engine: Engine, report: LaneReport): Promise<void> {
  for (const { what, changes, disturb, pattern } of refusals) {
    const bench = await Bench.open(engine, report, [options("t", changes), options("other")]);
    const { log } = bench;
    const [table, other] = ["t", "other"].map((name, at) => tableSchema(String(at + 1), name, columns));
    try {
      for (const each of [table, other])
        await log.snapshot(each, [{ id: "1", name: "'a'", amount: "1.0" }, { id: "2" }]);
      await bench.updated(`${what}: before it`);
      const later = await disturb(log, table);
      await log.changes(other, [{ op: 0, row: { id: "3" } }]);
      await log.commit();
      const { errors } = await bench.update();
      report.check(`${what} is refused`, pattern.test(errors.t ?? "") ? [] : [errors.t ?? "it was not"]);
      report.check(`${what}: the other table has gone on`, errors.other === undefined ? [] : [errors.other]);
      await bench.has(`${what}: the other table's rows`, "other", "1,2,3");
      await bench.refused(`${what} is refused again`, "t", pattern);
      await log.snapshot(later, [{ id: "3", ...(later.columns[1].name === "name" ? { name: "'c'" } : {}) }], "again");
      await bench.updated(`${what}: a full refresh behind a new snapshot`, { full_refresh: ["t"] });
      const [id, ...rest] = later.columns.map(({ name, deltaType }): [string, string] => [name, deltaType]);
      const history = changes?.mode === "scd2" ? described("scd2", false).slice(3) : [];
      const lines = await bench.lines("t", [id, ...rest, ...history]);
      const ids = lines.map((line) => line.split("\t")[0]).join();
      report.check(`${what}: the rows of the new snapshot`, ids === "3" ? [] : [ids]);
    } finally {
      bench.close();
    }
  }
}

/** A refresh while a new snapshot is under way begins with the former one, which is whole; the new one comes when it is. */
async function openSnapshot(engine: Engine, report: LaneReport): Promise<void> {
  const bench = await Bench.open(engine, report, [options("t"), options("told", { mode: "append" })]);
  const { log } = bench;
  const table = tableSchema("1", "t", columns);
  const told = tableSchema("2", "told", columns);
  const change = async (op: Change["op"], row: Record<string, Sql>) => {
    await log.changes(table, [{ op, row }]);
    await log.commit();
  };
  try {
    await log.snapshot(told, [{ id: "1" }]);
    await log.snapshot(table, [{ id: "1" }, { id: "2" }], "first");
    await change(0, { id: "3" });
    await bench.updated("before a new snapshot");
    log.begin(table, "second");
    await log.commit();
    await log.rows(table, "second", [{ id: "2" }, { id: "4" }]);
    await change(0, { id: "5" });
    await bench.updated("a full refresh while a snapshot is under way", { full_refresh: ["t"] });
    await bench.has("it has the rows of the former one", "t", "1,2,3");
    log.end(table, "second", 2);
    await change(0, { id: "6" });
    await bench.updated("when it is whole");
    await bench.has("rows of the new one, with what is behind its begin", "t", "2,4,5,6");
    await bench.equal("a new snapshot");
    // One that is never finished is void; the one that follows counts.
    log.begin(table, "third");
    await log.rows(table, "third", [{ id: "9" }]);
    await log.commit();
    await bench.updated("while another one is under way");
    log.begin(table, "fourth");
    await log.rows(table, "fourth", [{ id: "7" }]);
    log.end(table, "fourth", 1);
    await change(0, { id: "8" });
    await bench.updated("an unfinished one and one that is whole");
    await bench.has("rows of the whole one", "t", "7,8");
    await bench.updated("a full refresh behind it", { full_refresh: ["t"] });
    await bench.has("rows of the whole one again", "t", "7,8");
    await bench.equal("two snapshots");
  } finally {
    bench.close();
  }
}

/** A table that waits for a new snapshot has what it had: nothing of it comes once more, and what left meanwhile goes. */
async function awaitedSnapshot(engine: Engine, report: LaneReport): Promise<void> {
  const bench = await Bench.open(engine, report, [options("t"), options("told", { mode: "append" })]);
  const { log } = bench;
  const [table, told] = ["t", "told"].map((name, at) => tableSchema(String(at + 1), name, columns));
  try {
    for (const each of [table, told]) {
      await log.snapshot(each, [{ id: "1" }, { id: "2" }], `first of ${each.name}`);
      await log.changes(each, [{ op: 0, row: { id: "3" } }]);
    }
    await log.commit();
    await bench.updated("before a table waits for another snapshot");
    for (const each of [table, told]) log.awaits(each);
    await log.commit();
    await bench.updated("while it waits");
    await log.commit();
    await bench.updated("while it still waits");
    await bench.has("what it had", "t", "1,2,3");
    await bench.has("what is told of it, once", "told", "1,2,3");
    await bench.updated("a full refresh while it waits", { full_refresh: ["t"] });
    await bench.has("what it had, again", "t", "1,2,3");
    for (const each of [table, told]) {
      log.begin(each, `second of ${each.name}`);
      await log.rows(each, `second of ${each.name}`, [{ id: "2" }, { id: "4" }]);
      log.end(each, `second of ${each.name}`, 2);
    }
    await log.commit();
    await bench.updated("behind the other snapshot");
    await bench.has("rows of the other one", "t", "2,4");
    await bench.equal("an awaited snapshot");
    await bench.updated("a full refresh behind the other snapshot", { full_refresh: ["t"] });
    await bench.has("rows of the other one, again", "t", "2,4");
  } finally {
    bench.close();
  }
}

/**
 * What `sluice purge` removes was read by all tables, and a full refresh stays possible; unless that is given up: then it refuses.
 * Where the log lacks what a table needs, it doesn't go on over the gap.
 */
async function purgedLog(engine: Engine, report: LaneReport): Promise<void> {
  const bench = await Bench.open(engine, report, [options("t"), options("told", { mode: "append" })]);
  const { log } = bench;
  const tables = ["t", "told"].map((name, at) => tableSchema(String(at + 1), name, columns));
  const both = ["t", "told"];
  const insert = async (id: string) => {
    for (const each of tables) await log.changes(each, [{ op: 0, row: { id } }]);
    await log.commit();
  };
  const purge = async (what: string, tail: number, pastSnapshots = false) => {
    const purged = await purgeRead(log.store, { beforeMs: Date.now() + 1, pastSnapshots, isDry: false });
    report.check(
      what,
      purged.tail === tail ? [] : [`records from ${tail} on should be left: ${JSON.stringify(purged)}`],
    );
  };
  const has = async (what: string, ids: string) => {
    for (const name of both) await bench.has(`${what}: ${name}`, name, ids);
  };
  try {
    for (const each of tables) await log.snapshot(each, [{ id: "1", name: "'a'", amount: "1.0" }]);
    await insert("2");
    await bench.updated("before a purge");
    await insert("3");
    await bench.updated("what was read is told by the next update");
    await purge("a purge leaves the snapshots", 1);
    await bench.updated("a full refresh behind it", { full_refresh: both });
    await has("rows of a full refresh behind a purge", "1,2,3");
    await insert("4");
    await bench.updated("an update behind a full refresh");
    await purge("a purge past the snapshots leaves the record that was read last", 4, true);
    await insert("5");
    await bench.updated("an update behind a purge past the snapshots");
    await has("rows go on behind a purge", "1,2,3,4,5");
    const refusal =
      /staged records before 4 were purged, and no whole snapshot of it is left. Take a new snapshot of it \(sluice resync\)/;
    for (const name of both) {
      await bench.refused(`a full refresh of ${name} in the midst of a log is refused`, name, refusal, true);
    }
    const begin = log.head + 1;
    for (const each of tables) await log.snapshot(each, [{ id: "6" }], "again");
    await insert("7");
    await bench.updated("a full refresh behind a new snapshot", { full_refresh: both });
    await has("rows of the new snapshot", "6,7");
    await insert("8");
    await bench.updated("an update behind the new snapshot");
    await purge("a purge up to the new snapshots", begin);
    await bench.updated("a full refresh of what is left", { full_refresh: both });
    await has("rows of what is left", "6,7,8");
    // By hand: what a table hasn't read, and the record that it read last.
    const last = log.head;
    await insert("9");
    for (let sequence = begin; sequence <= last; sequence++) await log.store.delete(logKey(sequence));
    for (const name of both) {
      await bench.refused(
        `${name} doesn't go on over a gap`,
        name,
        /were purged before table public\.\w+ had them: take a new snapshot \(sluice resync\), then refresh it in full/,
      );
    }
  } finally {
    bench.close();
  }
}

/** A column that comes is in the next update; names that need quoting are the table's; a table may come later. */
async function columnsAndNames(engine: Engine, report: LaneReport): Promise<void> {
  const odd = `a b.c"d'e`;
  const bench = await Bench.open(engine, report, [options(odd), options("later")]);
  const { log } = bench;
  const table = tableSchema("1", odd, { "id\\`.x": "long*", 'näme\'s "q" {}': "string", "😀": "double" });
  try {
    await bench.updated("an update before anything is staged");
    const [id, name] = table.columns.map((column) => column.name);
    await log.snapshot(table, [{ [id]: "1", [name]: "'one'" }]);
    await bench.updated("names that need quoting");
    const wider = structuredClone(table);
    wider.schemaId = 2;
    wider.columns.push({ ...table.columns[1], attributeNumber: 4, physicalName: "c4", name: "new" });
    await log.schemaChange(wider);
    await log.changes(wider, [{ op: 0, row: { [id]: "2", [name]: "'two'", new: "'n'" } }]);
    await log.commit();
    await log.snapshot(tableSchema("2", "later", columns), [{ id: "7" }]);
    await bench.updated("a column and a table that came");
    await bench.has("the table that came", "later", "7");
    const both = wider.columns.map(({ name: each, deltaType }): [string, string] => [each, deltaType]);
    await bench.updated("a full refresh under the columns of now", { full_refresh: [odd] });
    const lines = await bench.lines(odd, both);
    report.check("rows under odd names", difference(lines, ["1\tone\t\\N\t\\N", "2\ttwo\t\\N\tn"]));
  } finally {
    bench.close();
  }
}

/**
 * A pipeline that runs for good: one reader for all batches. What is open at the end of one comes with a later one; a column that
 * comes ends its update when all before it was read, and the next one goes on.
 */
async function continuous(engine: Engine, report: LaneReport): Promise<void> {
  const bench = await Bench.open(engine, report, [options("t"), options("told", { mode: "append" })]);
  const { log } = bench;
  const [table, told] = ["t", "told"].map((name, at) => tableSchema(String(at + 1), name, columns));
  try {
    await log.snapshot(told, [{ id: "1" }]);
    await log.schema(table);
    log.begin(table, "first");
    await log.rows(table, "first", [{ id: "1" }]);
    await log.commit();
    await bench.polled("a batch amid a snapshot");
    await bench.has("nobody sees a part of it", "t", "");
    await log.rows(table, "first", [{ id: "2" }]);
    await log.changes(table, [{ op: 0, row: { id: "3" } }]);
    await log.commit();
    await bench.polled("another one");
    log.end(table, "first", 2);
    await log.commit();
    await bench.polled("a batch with its end");
    await bench.has("all of it", "t", "1,2,3");
    await bench.polled("nothing new");
    for (let at = 4; at < 8; at++) {
      for (const each of [table, told]) await log.changes(each, [{ op: 0, row: { id: String(at) } }]);
      await log.commit();
      await bench.polled(`changes of batch ${at}`);
    }
    await bench.equal("batches of one update");
    const wider = structuredClone(told);
    wider.schemaId = 2;
    wider.columns.push({ ...told.columns[1], attributeNumber: 4, physicalName: "c4", name: "new" });
    await log.changes(told, [{ op: 0, row: { id: "8" } }]);
    await log.commit();
    await log.schemaChange(wider);
    await log.changes(wider, [{ op: 0, row: { id: "9", new: "'n'" } }]);
    await log.commit();
    await bench.polled("a batch up to a column that comes");
    await bench.has("rows before the column", "told", "1,4,5,6,7,8");
    await bench.polled("the column ends the update", /columns of table public\.told have changed: start a new update/);
    await bench.polled("a new update");
    await bench.updated("all of it anew", { full_refresh: ["told"] });
    const lines = await bench.lines("told", [...described("append", false), ["new", "string"]]);
    const values = lines.map((line) => line.split("\t")).map((fields) => `${fields[0]} ${fields[7]}`);
    report.check(
      "rows before and behind the column",
      difference(
        values,
        "1 4 5 6 7 8"
          .split(" ")
          .map((id) => `${id} \\N`)
          .concat("9 n"),
      ),
    );
  } finally {
    bench.close();
  }
}

/** Rows that don't meet an expectation are counted, left out, or fail the update of their table alone. */
async function expectations(engine: Engine, report: LaneReport): Promise<void> {
  const expected = (action: Expectation["action"]): Expectation => ({
    name: "not huge",
    condition: "id < 100",
    action,
  });
  const table = tableSchema("1", "t", columns);
  for (const action of ["warn", "drop", "fail"] as const) {
    const bench = await Bench.open(engine, report, [options("t")], [expected(action)]);
    try {
      await bench.log.snapshot(table, [{ id: "1" }, { id: "2" }]);
      await bench.updated(`expectation (${action}): before`);
      await bench.log.changes(table, [
        { op: 0, row: { id: "100" } },
        { op: 0, row: { id: "3" } },
      ]);
      await bench.log.commit();
      if (action === "fail") await bench.refused("an expectation that fails", "t", /expectation not huge failed/);
      else await bench.updated(`expectation (${action})`);
      await bench.has(`rows under it (${action})`, "t", { warn: "1,100,2,3", drop: "1,2,3", fail: "1,2" }[action]);
    } finally {
      bench.close();
    }
  }
}

async function main(python: string): Promise<boolean> {
  const report = new LaneReport();
  const work = mkdtempSync(join(tmpdir(), "sluice-by-rules-"));
  const engine = await Engine.open(python, work);
  try {
    for (const part of [columnsAndNames, refuses, openSnapshot, awaitedSnapshot, continuous, purgedLog, expectations])
      await part(engine, report);
    for (let seed = 1; seed <= 3; seed++) await histories(engine, report, seed, 4);
  } finally {
    await engine.close();
    rmSync(work, { recursive: true, force: true });
  }
  return report.isPassed;
}

main(process.argv[2]).then(
  (isPassed) => process.exit(isPassed ? 0 : 1),
  (error: unknown) => {
    console.error(error);
    process.exit(1);
  },
);
