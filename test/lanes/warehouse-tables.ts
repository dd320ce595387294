import { join } from "node:path";
import { runApplier } from "../../runtime/applier/applier";
import type { TableFate } from "../../runtime/applier/made-tables";
import { dropWarehouseTables } from "../../runtime/applier/warehouse-drop";
import { warehouseDestinationSchema } from "../../runtime/config";
import { defaultTableOptions, type NamedTableOptions } from "../../runtime/table-options";
import { StagedLog, tableSchema } from "../runtime/applier/staged-log";
import { ModelTable } from "../runtime/applier/staged-model";
import { openDelta } from "../support/delta-reader";
import { compareTables } from "../support/equality";
import { catalog } from "../support/warehouse-applier";
import { type Lane, report } from "./warehouse-lane";
import { openSession } from "./warehouse-under-test";

/** How a table lies follows its options; what is dropped at a delete is what was made. */
export async function layout(lane: Lane): Promise<void> {
  const log = await StagedLog.open();
  const schema = lane.newSchema();
  const table = tableSchema("1", "laid", { id: "long*", name: "string", amount: "double" });
  const destination = warehouseDestinationSchema.parse({
    ...{ kind: "databricks", mode: "warehouse", engine: "spark", catalog, schema },
    ...{ host: "https://localhost", warehouseId: "lane" },
  });
  const session = await openSession(lane.front);
  const told: TableFate[] = [];
  const drop = () =>
    dropWarehouseTables(
      { ...log.config(), id: "lane" },
      destination,
      (fate) => told.push(fate),
      () => openSession(lane.front),
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
      for (const kind of ["insert", "insert", "update"] as const) await model.step({ kind, pick: round, value: round });
      await model.commit();
      await lane.apply(log, { tables, schema });
      const [detail] = await session.run(`DESCRIBE DETAIL ${schema}.laid`);
      const wanted = { clusterBy: [], changeDataFeed: false, deletionVectors: true, ...options };
      // DESCRIBE DETAIL has them as Hive's text of a map, which is no JSON.
      const properties = (await session.run(`SHOW TBLPROPERTIES ${schema}.laid`)).map(({ key, value }) => [key, value]);
      const found: Record<string, unknown> = {
        clusterBy: parsed(detail.clusteringColumns),
        ...Object.fromEntries(properties),
      };
      const problems = [
        ...(JSON.stringify(found.clusterBy) === JSON.stringify(wanted.clusterBy)
          ? []
          : [`clustered by ${found.clusterBy}`]),
        ...(found["delta.enableChangeDataFeed"] === String(wanted.changeDataFeed) ? [] : ["change data feed"]),
        ...(found["delta.enableDeletionVectors"] === String(wanted.deletionVectors) ? [] : ["deletion vectors"]),
        ...(found["delta.columnMapping.mode"] === "name" ? [] : ["column mapping"]),
      ];
      report(`a table with ${JSON.stringify(options)}`, problems);
      await lane.equalsLocal(log, tables, schema, ["laid"], `with ${JSON.stringify(options)}`);
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
export async function swap(lane: Lane, rows: number): Promise<void> {
  const log = await StagedLog.open();
  const schema = lane.newSchema();
  const table = tableSchema("1", "swapped", { id: "long*", name: "string", amount: "double" });
  const tables: NamedTableOptions[] = [{ ...defaultTableOptions, schema: "public", name: "swapped" }];
  const copy = async (name: string) => {
    await log.schema(table);
    log.begin(table, name);
    await log.rowsOf(table, name, `SELECT i::BIGINT, '${name}', i / 8.0 FROM range(${rows}) r(i)`);
    log.end(table, name, rows);
    await log.commit();
    await lane.apply(log, { tables, schema });
  };
  const session = await openSession(lane.front);
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
    const isOrdered = seen.lastIndexOf(states[0]) < (seen.includes(states[1]) ? seen.indexOf(states[1]) : seen.length);
    report(`${seen.length} readings of a table that is copied again`, [...odd, ...(isOrdered ? [] : ["back again"])]);
  } finally {
    await session.close();
    log.close();
  }
}

/** 100,000 changes into 2,000,000 rows. */
export async function large(lane: Lane, rows: number, changes: number): Promise<void> {
  const log = await StagedLog.open();
  const schema = lane.newSchema();
  const table = tableSchema("1", "large", { id: "long*", name: "string", amount: "double" });
  const tables: NamedTableOptions[] = [{ ...defaultTableOptions, schema: "public", name: "large" }];
  // For so many rows it is worth compiling.
  lane.settings = ["SET spark.sql.codegen.factoryMode = FALLBACK"];
  try {
    await log.schema(table);
    log.begin(table, "s1");
    await log.rowsOf(table, "s1", `SELECT i::BIGINT, 'name ' || i, i / 8.0 FROM range(${rows}) r(i)`);
    log.end(table, "s1", rows);
    await log.commit();
    let startedMs = performance.now();
    await lane.apply(log, { tables, schema });
    console.log(`snapshot of ${rows} rows: ${Math.round(performance.now() - startedMs)} ms`);
    await log.changesOf(
      table,
      changes,
      `(CASE WHEN i % 10 = 0 THEN 2 WHEN i % 10 = 1 THEN 0 ELSE 1 END)::TINYINT, ((hash(i) % ${rows})::BIGINT + CASE WHEN i % 10 = 1 THEN ${rows} ELSE 0 END), 'changed ' || i, i / 4.0`,
    );
    await log.commit();
    startedMs = performance.now();
    await lane.apply(log, { tables, schema });
    console.log(`${changes} changes into ${rows} rows: ${Math.round(performance.now() - startedMs)} ms`);
    await runApplier(
      { ...log.config({ tables }), id: "local" },
      { signal: new AbortController().signal, version: "0.0.0" },
    );
    startedMs = performance.now();
    const { rows: found, problems } = await compareTables(
      await openDelta(lane.path(schema, "large")),
      await openDelta(join(log.destination, "public", "large")),
    );
    report(`the large table equals the local applier's, row for row: ${found} rows`, problems);
    console.log(`${found} rows compared: ${Math.round(performance.now() - startedMs)} ms`);
  } finally {
    lane.settings = [];
    log.close();
  }
}

/** Of an engine that gives arrays and maps as they are, or as JSON's text. */
const parsed = (value: unknown): unknown => (typeof value === "string" ? JSON.parse(value) : value);
