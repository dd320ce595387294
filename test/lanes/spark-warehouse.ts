// The applier's warehouse mode against Spark with Delta, through @databricks/sql and what stands for Databricks' front.
// SLUICE_LANE_PARTS=modes,schema,more,lost,kills,large names what is done; default the first two.
// Usage: spark-warehouse PYTHON FOLDER [SPARK_PORT]; in a network namespace of its own, as Spark listens on every interface.
import { rmSync } from "node:fs";
import { join } from "node:path";
import { runApplier } from "../../runtime/applier/applier";
import type { TableFate } from "../../runtime/applier/made-tables";
import { dropWarehouseTables } from "../../runtime/applier/warehouse-drop";
import { warehouseDestinationSchema } from "../../runtime/config";
import type { SqlSession } from "../../runtime/destination/databricks/sql-session";
import { defaultTableOptions, type NamedTableOptions, tableModeSchema } from "../../runtime/table-options";
import { replayModes } from "../runtime/applier/mode-replay";
import { expectedText, namedRowText, SchemaModel, type SchemaStep } from "../runtime/applier/schema-model";
import { StagedLog, tableSchema } from "../runtime/applier/staged-log";
import { deltaRowText, ModelTable, type Step } from "../runtime/applier/staged-model";
import { openDelta, readDeltaRows } from "../support/delta-reader";
import { compareTables } from "../support/equality";
import { startSparkFront } from "../support/spark-front";
import { SparkServer } from "../support/spark-server";
import { applyToWarehouse, catalog, type WarehouseRun } from "../support/warehouse-applier";
import type { Fault, WarehouseCall, WarehouseFront } from "../support/warehouse-front";
import { openSession, token } from "./warehouse-under-test";

let failures = 0;

function report(what: string, problems: string[]): void {
  if (problems.length > 0) failures++;
  console.log(`${problems.length === 0 ? "ok" : "FAILED"}: ${what}`);
  for (const problem of problems.slice(0, 20)) console.log(`  ${problem}`);
}

/** Repeatable. */
function random(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}

function difference(found: string[], wanted: string[]): string[] {
  const problems: string[] = [];
  if (found.length !== wanted.length) problems.push(`${found.length} rows, not ${wanted.length}`);
  const missing = wanted.filter((row) => !found.includes(row)).slice(0, 5);
  const extra = found.filter((row) => !wanted.includes(row)).slice(0, 5);
  return [...problems, ...missing.map((row) => `lacks ${row}`), ...extra.map((row) => `has ${row}`)];
}

class Lane {
  private schemas = 0;

  constructor(
    private readonly front: WarehouseFront,
    private readonly sparkFolder: string,
  ) {}

  newSchema(): string {
    return `lane${++this.schemas}_${process.pid}`;
  }

  private path(schema: string, name: string): string {
    return join(this.sparkFolder, "warehouse", `${schema}.db`, name);
  }

  /** Rows as an independent reader finds them in Spark's own files. */
  rows(schema: string, name: string): Promise<Record<string, unknown>[]> {
    return readDeltaRows(this.path(schema, name));
  }

  async apply(log: StagedLog, run: WarehouseRun): Promise<void> {
    await applyToWarehouse(log, () => openSession(this.front), run);
  }

  /** Tables of all modes, with keys and without, partitioned or not, whose source does all that it can. */
  async modes(seed: number, length: number, rounds = 3): Promise<void> {
    const pick = random(seed);
    const log = await StagedLog.open();
    const schema = this.newSchema();
    const given = [
      ...tableModeSchema.options.map((mode) => ({ mode })),
      { mode: "append" as const, beforeImage: true },
      { mode: "scd1" as const, metadataColumns: true },
      { mode: "softDelete" as const, metadataColumns: true, columnMapping: false },
    ];
    const tables = given.map((options, index): NamedTableOptions => {
      const partition = index % 3 === 1 ? { partitionBy: ["name"] } : {};
      return { ...defaultTableOptions, schema: "public", name: `t${index + 1}`, ...options, ...partition };
    });
    const kinds: Step["kind"][] =
      "insert insert insert update update unchanged rekey delete truncate begin rows end commit"
        .split(" ")
        .map((kind) => kind as Step["kind"]);
    try {
      const columns = { id: "long*", name: "string", amount: "double" };
      const models = tables.map(
        ({ name }, index) => new ModelTable(log, tableSchema(String(index + 1), name, columns), true, true),
      );
      const keyless = new ModelTable(
        log,
        tableSchema("90", "keyless", { id: "long", name: "string", amount: "double" }),
        false,
      );
      const all = [...models, keyless];
      for (const model of all) await model.start();
      for (let round = 0; round < rounds; round++) {
        let isOpen = false;
        for (let at = 0; at < length; at++) {
          const step: Step = { kind: kinds[pick(kinds.length)], pick: pick(1000), value: pick(1000) };
          if (step.kind === "truncate" && (isOpen || pick(3) > 0)) continue;
          if (step.kind === "begin") isOpen = true;
          if (step.kind === "end") isOpen = false;
          for (const model of all) await model.step(step);
        }
        for (const model of all) await model.step({ kind: "end", pick: 0, value: 0 });
        for (const model of all) await model.commit();
        await this.apply(log, { tables, schema });
        const replayed = await replayModes(log.config().stagingPath);
        for (const [index, { name, mode, beforeImage, metadataColumns }] of tables.entries()) {
          if (metadataColumns) continue;
          const wanted =
            replayed
              .get(String(index + 1))
              ?.rows(mode, beforeImage)
              .sort() ?? [];
          const found = (await this.rows(schema, name)).map(deltaRowText).sort();
          report(`seed ${seed}, round ${round}: ${name} ${mode}, ${found.length} rows`, difference(found, wanted));
        }
        await this.equalsLocal(
          log,
          tables,
          schema,
          ["keyless", ...tables.map(({ name }) => name)],
          `seed ${seed}, round ${round}`,
        );
      }
    } finally {
      log.close();
    }
  }

  /** The local applier's tables of the same log, row for row. */
  private async equalsLocal(
    log: StagedLog,
    tables: NamedTableOptions[],
    schema: string,
    names: string[],
    when: string,
  ): Promise<void> {
    await runApplier(
      { ...log.config({ tables }), id: "local" },
      { signal: new AbortController().signal, version: "0.0.0" },
    );
    for (const name of names) {
      const { rows, problems } = await compareTables(
        await openDelta(this.path(schema, name)),
        await openDelta(join(log.destination, "public", name)),
      );
      report(`${when}: ${name} equals the local applier's, ${rows} rows`, problems);
    }
  }

  /** A table whose schema changes in every way, and which moves. */
  async schemaChanges(seed: number, length: number, rounds = 4): Promise<void> {
    const pick = random(seed);
    const log = await StagedLog.open();
    const schema = this.newSchema();
    const kinds =
      "insert insert insert update update unchanged delete truncate add add drop rename rename widen key move begin end commit"
        .split(" ")
        .map((kind) => kind as SchemaStep["kind"]);
    const columnMapping = seed % 2 === 0;
    const tables = ["a", "b", "c"].map(
      (name): NamedTableOptions => ({ ...defaultTableOptions, schema: "public", name, columnMapping }),
    );
    try {
      const models: SchemaModel[] = [];
      const isFree = (name: string) => models.every((model) => model.schema.name !== name);
      models.push(new SchemaModel(log, "1", "a", isFree), new SchemaModel(log, "2", "b", isFree));
      for (const model of models) await model.start();
      for (let round = 0; round < rounds; round++) {
        for (let at = 0; at < length; at++) {
          const step = { kind: kinds[pick(kinds.length)], pick: pick(1000), value: pick(1000) };
          await models[pick(2)].step(step);
        }
        for (const model of models) await model.step({ kind: "end", pick: 0, value: 0 });
        for (const model of models) await model.commit();
        await this.apply(log, { tables, schema });
        for (const model of models) {
          const found = (await this.rows(schema, model.schema.name)).map(namedRowText).sort();
          const wanted = model.rows.map((row) => expectedText(model.schema, row)).sort();
          report(
            `schema changes, seed ${seed}, round ${round}: ${model.schema.name}, ${found.length} rows`,
            difference(found, wanted),
          );
        }
      }
    } finally {
      log.close();
    }
  }

  /** Killed at each of some statements, before or after its effect; a new process goes on (invariant 3). */
  async kills(seed: number, every: number): Promise<void> {
    const pick = random(seed);
    const log = await StagedLog.open();
    const schema = this.newSchema();
    const tables = tableModeSchema.options.map(
      (mode, index): NamedTableOptions => ({ ...defaultTableOptions, schema: "public", name: `k${index + 1}`, mode }),
    );
    const columns = { id: "long*", name: "string", amount: "double" };
    const kinds: Step["kind"][] = ["insert", "insert", "update", "unchanged", "rekey", "delete"];
    try {
      const models = tables.map(
        ({ name }, index) => new ModelTable(log, tableSchema(String(index + 1), name, columns), true),
      );
      for (const model of models) await model.start();
      let kills = 0;
      for (let round = 0, at = 1; kills < every; round++) {
        for (let count = 0; count < 8; count++) {
          const step: Step = { kind: kinds[pick(kinds.length)], pick: pick(1000), value: pick(1000) };
          for (const model of models) await model.step(step);
        }
        if (round % 3 === 2) for (const model of models) await model.step({ kind: "truncate", pick: 0, value: 0 });
        for (const model of models) await model.commit();
        // Statements of one batch are cut off one after another, until it is through.
        const isAfter = round % 2 === 0;
        while (await this.killed(log, { tables, schema }, at, isAfter)) {
          kills++;
          at += 2;
        }
        at = 1 + (round % 2);
        const replayed = await replayModes(log.config().stagingPath);
        for (const [index, { name, mode }] of tables.entries()) {
          const wanted =
            replayed
              .get(String(index + 1))
              ?.rows(mode)
              .sort() ?? [];
          const found = (await this.rows(schema, name)).map(deltaRowText).sort();
          report(
            `killed ${kills} times, ${isAfter ? "after" : "before"} effects: ${name} ${mode}, ${found.length} rows`,
            difference(found, wanted),
          );
        }
      }
    } finally {
      log.close();
    }
  }

  /** Runs until the statement with a number; false when there are fewer. Only those that write are counted. */
  private async killed(log: StagedLog, run: WarehouseRun, at: number, isAfter: boolean): Promise<boolean> {
    let count = 0;
    let die = () => {};
    const dead = new Promise<true>((resolve) => {
      die = () => resolve(true);
    });
    const through = (session: SqlSession): SqlSession => ({
      run: async (statement) => {
        if (/^(SELECT|SHOW|DESCRIBE)/.test(statement)) return session.run(statement);
        const isLast = ++count === at;
        if (count > at || (isLast && !isAfter)) {
          die();
          return new Promise(() => {});
        }
        const rows = await session.run(statement);
        if (!isLast) return rows;
        die();
        return new Promise(() => {});
      },
      close: () => session.close(),
    });
    const applied = this.apply(log, { ...run, through }).then(() => false);
    return Promise.race([dead, applied]);
  }

  /** Calls meet every fault of the way, behind their effect and before it: the same process goes on (invariant 3). */
  async lostAnswers(): Promise<void> {
    const log = await StagedLog.open();
    const schema = this.newSchema();
    const tables = [
      { ...defaultTableOptions, schema: "public", name: "lost", mode: "append" as const },
      { ...defaultTableOptions, schema: "public", name: "keyless" },
    ];
    const told = tableSchema("1", "lost", { id: "long*", name: "string", amount: "double" });
    const bag = tableSchema("2", "keyless", { id: "long", name: "string", amount: "double" });
    const isWriting = ({ statement }: WarehouseCall) =>
      statement !== null &&
      /^(MERGE|CREATE OR REPLACE|ALTER)/.test(statement) &&
      !statement.includes("_sluice_writers` w");
    const isPoll = ({ name }: WarehouseCall) => name === "GetOperationStatus";
    const again = { "retry-after": "0" };
    const faults: { what: string; isMeant: (call: WarehouseCall) => boolean; fault: Fault; count?: number }[] = [
      { what: "a lost answer", isMeant: isWriting, fault: "lose-answer" },
      { what: "a lost call", isMeant: isWriting, fault: "lose-call" },
      { what: "lost polls", isMeant: isPoll, fault: "lose-call", count: 3 },
      { what: "a lost result", isMeant: ({ name }) => name === "FetchResults", fault: "lose-answer" },
      { what: "a proxy's 503 behind the effect", isMeant: isWriting, fault: { status: 503, isBehind: true } },
      { what: "a warehouse that starts", isMeant: isWriting, fault: { status: 503, headers: again }, count: 2 },
      { what: "no room", isMeant: isWriting, fault: { status: 429, headers: again }, count: 2 },
      { what: "a session that is over", isMeant: isWriting, fault: { refusal: "Invalid SessionHandle" } },
    ];
    const met: string[] = [];
    try {
      const models = [new ModelTable(log, told, true), new ModelTable(log, bag, false)];
      for (const model of models) await model.start();
      for (const [round, { what, isMeant, fault, count = 1 }] of faults.entries()) {
        for (const kind of ["insert", "insert", "update"] as const) {
          for (const model of models) await model.step({ kind, pick: round, value: round * 7 });
        }
        for (const model of models) await model.commit();
        let left = count;
        this.front.fault = (call) => (isMeant(call) && left-- > 0 ? fault : "none");
        await this.apply(log, { tables, schema });
        if (left <= 0) met.push(what);
        await this.equalsLocal(log, tables, schema, ["lost", "keyless"], what);
      }
      report("every fault was met", met.length === faults.length ? [] : [met.join(", ")]);
    } finally {
      this.front.fault = () => "none";
      log.close();
    }
  }

  /** How a table lies follows its options; what is dropped at a delete is what was made. */
  async layout(): Promise<void> {
    const log = await StagedLog.open();
    const schema = this.newSchema();
    const table = tableSchema("1", "laid", { id: "long*", name: "string", amount: "double" });
    const destination = warehouseDestinationSchema.parse({
      ...{ kind: "databricks", mode: "warehouse", engine: "spark", catalog, schema },
      ...{ host: "https://localhost", warehouseId: "lane" },
    });
    const session = await openSession(this.front);
    const told: TableFate[] = [];
    const drop = () =>
      dropWarehouseTables(
        log.config(),
        destination,
        (fate) => told.push(fate),
        () => openSession(this.front),
      );
    try {
      const model = new ModelTable(log, table, true);
      await model.start();
      for (const [round, options] of [
        { clusterBy: ["name"] },
        { clusterBy: ["amount", "name"], changeDataFeed: true },
        { deletionVectors: false },
      ].entries()) {
        const tables = [{ ...defaultTableOptions, schema: "public", name: "laid", ...options }];
        for (const kind of ["insert", "insert", "update"] as const)
          await model.step({ kind, pick: round, value: round });
        await model.commit();
        await this.apply(log, { tables, schema });
        const [detail] = await session.run(`DESCRIBE DETAIL ${schema}.laid`);
        const wanted = { clusterBy: [], changeDataFeed: false, deletionVectors: true, ...options };
        const found = {
          clusterBy: parsed(detail.clusteringColumns),
          ...(parsed(detail.properties) as object),
        } as Record<string, unknown>;
        const problems = [
          ...(JSON.stringify(found.clusterBy) === JSON.stringify(wanted.clusterBy)
            ? []
            : [`clustered by ${found.clusterBy}`]),
          ...(found["delta.enableChangeDataFeed"] === String(wanted.changeDataFeed) ? [] : ["change data feed"]),
          ...(found["delta.enableDeletionVectors"] === String(wanted.deletionVectors) ? [] : ["deletion vectors"]),
          ...(found["delta.columnMapping.mode"] === "name" ? [] : ["column mapping"]),
        ];
        report(`a table with ${JSON.stringify(options)}`, problems);
        await this.equalsLocal(log, tables, schema, ["laid"], `with ${JSON.stringify(options)}`);
      }
      await session.run(`CREATE TABLE ${schema}.notes (a INT) USING DELTA`);
      await drop();
      await drop();
      const left = (await session.run(`SHOW TABLES IN ${schema}`)).map(({ tableName }) => String(tableName));
      const fates = told.map(({ kind, path }) => `${kind} ${path}`).join();
      report(
        "a delete drops what was made, and leaves what is somebody's",
        left.join() === "notes" && fates === `dropped ${catalog}.${schema}.laid` ? [] : [left.join(), fates],
      );
    } finally {
      await session.close();
      log.close();
    }
  }

  /** A table is copied again while others read it: they have all rows of before, or all of now. */
  async swap(rows: number): Promise<void> {
    const log = await StagedLog.open();
    const schema = this.newSchema();
    const table = tableSchema("1", "swapped", { id: "long*", name: "string", amount: "double" });
    const tables: NamedTableOptions[] = [{ ...defaultTableOptions, schema: "public", name: "swapped" }];
    const copy = async (name: string) => {
      await log.schema(table);
      log.begin(table, name);
      await log.rowsOf(table, name, `SELECT i::BIGINT, '${name}', i / 8.0 FROM range(${rows}) r(i)`);
      log.end(table, name, rows);
      await log.commit();
      await this.apply(log, { tables, schema });
    };
    const session = await openSession(this.front);
    try {
      await copy("before");
      let isOver = false;
      const swapped = copy("now").finally(() => {
        isOver = true;
      });
      const seen: string[] = [];
      do {
        const [found] = await session.run(
          `SELECT CAST(count(*) AS STRING) AS n, min(name) AS low, max(name) AS high FROM ${schema}.swapped`,
        );
        seen.push(`${found.n} ${found.low} ${found.high}`);
      } while (!isOver);
      await swapped;
      const states = [`${rows} before before`, `${rows} now now`];
      const odd = seen.filter((each) => !states.includes(each));
      const isOrdered =
        seen.lastIndexOf(states[0]) < (seen.includes(states[1]) ? seen.indexOf(states[1]) : seen.length);
      report(`${seen.length} readings of a table that is copied again`, [...odd, ...(isOrdered ? [] : ["back again"])]);
    } finally {
      await session.close();
      log.close();
    }
  }

  /** 100,000 changes into 2,000,000 rows. */
  async large(rows: number, changes: number): Promise<void> {
    const log = await StagedLog.open();
    const schema = this.newSchema();
    const table = tableSchema("1", "large", { id: "long*", name: "string", amount: "double" });
    const tables: NamedTableOptions[] = [{ ...defaultTableOptions, schema: "public", name: "large" }];
    try {
      await log.schema(table);
      log.begin(table, "s1");
      await log.rowsOf(table, "s1", `SELECT i::BIGINT, 'name ' || i, i / 8.0 FROM range(${rows}) r(i)`);
      log.end(table, "s1", rows);
      await log.commit();
      let startedMs = performance.now();
      await this.apply(log, { tables, schema });
      console.log(`snapshot of ${rows} rows: ${Math.round(performance.now() - startedMs)} ms`);
      await log.changesOf(
        table,
        changes,
        `(CASE WHEN i % 10 = 0 THEN 2 WHEN i % 10 = 1 THEN 0 ELSE 1 END)::TINYINT, ((hash(i) % ${rows})::BIGINT + CASE WHEN i % 10 = 1 THEN ${rows} ELSE 0 END), 'changed ' || i, i / 4.0`,
      );
      await log.commit();
      startedMs = performance.now();
      await this.apply(log, { tables, schema });
      console.log(`${changes} changes into ${rows} rows: ${Math.round(performance.now() - startedMs)} ms`);
      await runApplier(
        { ...log.config({ tables }), id: "local" },
        { signal: new AbortController().signal, version: "0.0.0" },
      );
      startedMs = performance.now();
      const { rows: found, problems } = await compareTables(
        await openDelta(this.path(schema, "large")),
        await openDelta(join(log.destination, "public", "large")),
      );
      report(`the large table equals the local applier's, row for row: ${found} rows`, problems);
      console.log(`${found} rows compared: ${Math.round(performance.now() - startedMs)} ms`);
    } finally {
      log.close();
    }
  }
}

/** Of an engine that gives arrays and maps as they are, or as JSON's text. */
const parsed = (value: unknown): unknown => (typeof value === "string" ? JSON.parse(value) : value);

async function main(python: string, folder: string, port: string | undefined): Promise<void> {
  const server = port === undefined ? await SparkServer.start(python, folder) : null;
  const front = await startSparkFront(server?.port ?? Number(port), token);
  const lane = new Lane(front, folder);
  const parts: Record<string, () => Promise<void>> = {
    modes: () => lane.modes(1, 14, 1),
    schema: () => lane.schemaChanges(2, 12, 3),
    more: async () => {
      for (const seed of [3, 4]) await lane.modes(seed, 30);
      for (const seed of [1, 4]) await lane.schemaChanges(seed, 14);
    },
    layout: () => lane.layout(),
    swap: () => lane.swap(20_000),
    lost: () => lane.lostAnswers(),
    kills: () => lane.kills(1, 24),
    large: () => lane.large(2_000_000, 100_000),
  };
  const only = process.env.SLUICE_LANE_PARTS?.split(",") ?? ["modes", "schema"];
  try {
    for (const name of only) {
      const startedMs = performance.now();
      await parts[name]();
      console.log(`${name}: ${Math.round((performance.now() - startedMs) / 1000)} s`);
    }
  } finally {
    await front.close();
    await server?.close();
    if (server !== null) rmSync(join(folder, "warehouse"), { recursive: true, force: true });
  }
}

main(process.argv[2], process.argv[3], process.argv[4]).then(
  () => process.exit(failures === 0 ? 0 : 1),
  (error: unknown) => {
    console.error(error);
    process.exit(1);
  },
);
