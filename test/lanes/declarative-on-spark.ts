// A declarative pipeline's source, run by Spark's own declarative pipelines on Delta over staging of the real gateway: its
// tables equal the local applier's, row for row. What Spark lacks of Databricks (SCD type 2, truncates, expectations) is
// dry-run without it.
// Usage: declarative-on-spark PYTHON FOLDER; FOLDER keeps the jars. 77 without a Java compiler.
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type PipelineTable, pipelineSource } from "../../provider/declarative/pipeline-source";
import { runApplier } from "../../runtime/applier/applier";
import { maintenanceSchema } from "../../runtime/config";
import { openFolderStore } from "../../runtime/staging/folder-store";
import { requestResync } from "../../runtime/staging/resync-request";
import { defaultTableOptions, type NamedTableOptions } from "../../runtime/table-options";
import { until } from "../support/conditions";
import { GatewayUnderTest } from "../support/gateway-under-test";
import { startPostgres } from "../support/postgres-server";
import { LaneReport } from "./lane-report";
import { hasJavaCompiler, SparkPipelines, type UpdateRequest } from "./spark-connect";
import { typeRows, typeTables } from "./table-set-source";

const told = new LaneReport();
const report = told.check;

const catalog = "spark_catalog";
const schema = "lake";
const nameOf = (table: string) => `${catalog}.${schema}.${table}`;

const setup = `
  ${typeTables}
  CREATE TABLE orders (id int PRIMARY KEY, customer text, amount numeric(12,2), placed timestamptz, quantity int);
  INSERT INTO orders SELECT i, 'customer ' || i % 17, i * 1.25, timestamptz '2024-03-01 00:00:00.000001+00' + i * interval '1 hour',
    nullif(i % 7, 0) FROM generate_series(1, 2000) i;
  CREATE TABLE lines (order_id bigint, line int, product text, price double precision, PRIMARY KEY (order_id, line));
  INSERT INTO lines SELECT i / 3, i % 3, 'product ' || i % 11, i / 7.0 FROM generate_series(1, 900) i;
  CREATE TABLE documents (id int PRIMARY KEY, title text, body text);
  ALTER TABLE documents ALTER body SET STORAGE EXTERNAL;
  ALTER TABLE documents REPLICA IDENTITY FULL;
  INSERT INTO documents SELECT i, 'title ' || i, repeat('body ' || i || ' ', 1000) FROM generate_series(1, 60) i;
  CREATE TABLE bare (id int PRIMARY KEY, seen int, body text);
  ALTER TABLE bare ALTER body SET STORAGE EXTERNAL;
  INSERT INTO bare SELECT i, 0, repeat('body ' || i || ' ', 1000) FROM generate_series(1, 20) i;
  CREATE TABLE told (id int PRIMARY KEY, name text);
  ALTER TABLE told REPLICA IDENTITY FULL;
  INSERT INTO told SELECT i, 'name ' || i FROM generate_series(1, 50) i`;

const options = (name: string, changes: Partial<NamedTableOptions> = {}): NamedTableOptions => ({
  ...defaultTableOptions,
  schema: "public",
  name,
  ...changes,
});

const tables = [
  options("orders"),
  options("lines", { metadataColumns: true }),
  options("documents"),
  options("bare"),
  options("told", { mode: "append", beforeImage: true }),
  options("all_types"),
];

/** Begun while the snapshots are taken, or just behind them. */
const first = [
  "UPDATE orders SET quantity = quantity + 1 WHERE id % 5 = 0",
  "DELETE FROM orders WHERE id % 9 = 0",
  "INSERT INTO orders VALUES (100001, NULL, NULL, NULL, NULL)",
  "UPDATE told SET name = 'second' WHERE id % 5 = 0",
];

const second = [
  "UPDATE orders SET amount = -amount WHERE id % 4 = 0",
  "UPDATE orders SET id = id + 200000 WHERE id % 50 = 1",
  "BEGIN; DELETE FROM orders WHERE id = 2; INSERT INTO orders VALUES (2, 'again', 2, now(), 2); UPDATE orders SET quantity = 3 WHERE id = 2; COMMIT",
  "BEGIN; INSERT INTO orders VALUES (310002, 'gone', 1, now(), 1); DELETE FROM orders WHERE id = 310002; COMMIT",
  "BEGIN; UPDATE orders SET customer = 'never'; ROLLBACK",
  "INSERT INTO orders SELECT i, 'new', i, now(), i FROM generate_series(400001, 406000) i",
  "UPDATE lines SET line = line + 10 WHERE order_id % 20 = 0",
  "UPDATE lines SET price = 'NaN' WHERE order_id % 21 = 0",
  "DELETE FROM lines WHERE order_id % 22 = 0",
  // The body isn't sent where it doesn't change, and is in the row of before.
  "UPDATE documents SET title = 'other' WHERE id % 2 = 0",
  "UPDATE documents SET body = repeat('changed', 900) WHERE id % 3 = 0",
  "UPDATE documents SET body = NULL WHERE id % 7 = 0",
  "DELETE FROM documents WHERE id % 11 = 0",
  "UPDATE documents SET id = id + 1000 WHERE id % 13 = 0",
  "UPDATE told SET name = 'third' WHERE id % 7 = 0",
  "DELETE FROM told WHERE id % 8 = 0",
  ...typeRows,
  "UPDATE all_types SET t0 = NOT t0 WHERE id % 3 = 0",
  "DELETE FROM all_types WHERE id = 2",
];

const third = [
  "ALTER TABLE orders ADD note text",
  "INSERT INTO orders VALUES (500001, 'c', 1, now(), 1, 'a note')",
  "UPDATE orders SET note = 'noted' WHERE id % 100 = 3",
  "UPDATE lines SET product = 'changed' WHERE order_id % 30 = 0",
  // Its body isn't sent, and no row of before has it.
  "UPDATE bare SET seen = seen + 1 WHERE id = 1",
];

class Lane {
  constructor(
    private readonly spark: SparkPipelines,
    private readonly gateway: GatewayUnderTest,
    private readonly folder: string,
  ) {}

  /** The specification of a pipeline of these tables, with its source beside it. */
  spec(name: string, declared: readonly PipelineTable[]): string {
    const folder = join(this.folder, name);
    mkdirSync(folder, { recursive: true });
    const stagingPath = this.gateway.stagingPath;
    writeFileSync(join(folder, "pipeline.py"), pipelineSource({ stagingPath, catalog, schema, tables: declared }));
    const spec = join(folder, "spark-pipeline.yml");
    const libraries = [{ glob: { include: "pipeline.py" } }];
    const storage = `file://${join(folder, "storage")}`;
    writeFileSync(spec, JSON.stringify({ name, storage, catalog, database: schema, libraries }));
    return spec;
  }

  /** What an update fails with; "" when it doesn't. */
  async update(request: UpdateRequest): Promise<string> {
    try {
      await this.spark.update(request);
      return "";
    } catch (error) {
      return error instanceof Error ? error.message : String(error);
    }
  }

  async source(statements: string[]): Promise<void> {
    for (const statement of statements) await this.gateway.client.query(statement);
    await this.gateway.caughtUp({ tables: tables.length + 1, timeoutMs: 120_000 });
  }

  /** The same staged records by the local applier, into a lake of before or a new one. */
  private async applyHere(lake: string): Promise<void> {
    await runApplier(
      {
        version: 1,
        id: "local",
        role: "applier",
        statusPath: join(this.folder, "status.json"),
        http: { port: 0 },
        stagingPath: this.gateway.stagingPath,
        staging: { kind: "folder" },
        destination: { kind: "local", path: lake },
        trigger: { kind: "once" },
        onRemove: "keep",
        tables,
        runsKeptMax: 50,
        maintenance: maintenanceSchema.parse({}),
        memoryBytesMax: 256 * 1024 * 1024,
      },
      { signal: new AbortController().signal, version: "0.0.0" },
    );
  }

  async equal(what: string, names = tables.map(({ name }) => name)): Promise<void> {
    const lake = join(this.folder, "lake");
    await this.applyHere(lake);
    for (const name of names) {
      const { differences, count } = await this.spark
        .differences(nameOf(name), join(lake, "public", name))
        .catch((error: unknown) => ({ differences: [String(error)], count: 1 }));
      report(`${what}: ${name} equals the local applier's, ${count} rows`, count > 0 ? differences : ["no rows"]);
    }
  }

  async versions(name: string): Promise<number> {
    return (await this.spark.sql(`DESCRIBE HISTORY ${nameOf(name)}`)).length;
  }
}

async function lane(spark: SparkPipelines, gateway: GatewayUnderTest, folder: string): Promise<void> {
  const lane = new Lane(spark, gateway, folder);
  await spark.sql(`CREATE SCHEMA ${catalog}.${schema}`);
  gateway.process.start();
  await lane.source(first);

  await dryRun(lane, spark);

  const declared = tables.map(({ schema: of, name, ...rest }) => ({ schema: of, name, options: rest }));
  const spec = lane.spec("shop", declared);
  const failed = async (what: string, request: Omit<UpdateRequest, "spec"> = {}) => {
    const failure = await lane.update({ spec, ...request });
    report(what, failure === "" ? [] : [failure]);
  };
  await failed("the first update");
  await lane.equal("snapshot and stream");
  await lane.source(second);
  await failed("the second update");
  await lane.equal("changes");
  const versions = await lane.versions("orders");
  await failed("an update with nothing new", { refresh: [nameOf("orders")] });
  await lane.equal("nothing new", ["orders"]);

  await lane.source(third);
  const refused = await lane.update({ spec, refresh: [nameOf("bare")] });
  const isTold = /table public\.bare: an update left out a long value.*REPLICA IDENTITY FULL/s.test(refused);
  report("a long value that isn't there is refused, with its remedy", isTold ? [] : [refused || "it was not"]);
  await failed("an update of two tables", { refresh: ["orders", "lines"].map(nameOf) });
  await lane.equal("a new column", ["orders", "lines"]);
  report("orders was written to", (await lane.versions("orders")) > versions ? [] : ["no new version"]);

  const before = await lane.versions("orders");
  // A refresh that came before the end of the new snapshot would begin with the former one, and be refused once more; the
  // gateway's status counts a snapshot at its begin.
  await requestResync(await openFolderStore(gateway.stagingPath), "public.bare");
  const isWhole = () => {
    const bare = Object.values(gateway.records().at(-1)?.tables ?? {}).find((table) => table.name === "bare");
    return bare?.snapshots === 2 && bare.snapshotComplete;
  };
  await until("a new snapshot is staged whole", isWhole, 120_000);
  await lane.source([]);
  await failed("a full refresh of one table behind a new snapshot", { fullRefresh: [nameOf("bare")] });
  await lane.equal("refreshed", ["bare"]);
  report("it left the others alone", (await lane.versions("orders")) === before ? [] : ["orders has a new version"]);
}

/** All that a declaration can have, by Spark's parser, analyser and checks of a graph; nothing is made. */
async function dryRun(lane: Lane, spark: SparkPipelines): Promise<void> {
  const table = (name: string, changes: Partial<NamedTableOptions>, more: Partial<PipelineTable> = {}) => {
    const { schema: of, name: _name, ...rest } = options(name, changes);
    return { schema: of, name, options: rest, ...more };
  };
  const spec = lane.spec("dry", [
    table("orders", { mode: "scd2", exclude: ["customer"], clusterBy: ["placed"], changeDataFeed: true }),
    table("lines", { key: ["product", "line", "order_id"], partitionBy: ["product"], metadataColumns: true }),
    table("told", { mode: "append", destination: { schema, name: "told_events" } }),
    table(
      "documents",
      { include: ["id", "title"], deletionVectors: false },
      {
        expectations: [
          { name: "has a title", condition: "title IS NOT NULL" },
          { name: "is positive", condition: "id > 0", action: "drop" },
          { name: "isn't huge", condition: "id < 1e9", action: "fail" },
        ],
      },
    ),
    table("no_such_table", {}),
  ]);
  const leftOut = await spark.update({ spec, dry: true }).catch((error: unknown) => [String(error)]);
  const quoted = (name: string) => [catalog, schema, name].map((part) => `\`${part}\``).join(".");
  const wanted = [
    `${quoted("documents")}: apply_as_truncates`,
    ...["expect_all", "expect_all_or_drop", "expect_all_or_fail"].map((each) => `${quoted("documents")}: ${each}`),
    `${quoted("lines")}: apply_as_truncates`,
    `${quoted("orders")}: stored_as_scd_type=2`,
  ];
  report("a dry run of all that can be declared", leftOut.join("\n") === wanted.sort().join("\n") ? [] : leftOut);
  const made = await spark.sql(`SHOW TABLES IN ${catalog}.${schema}`);
  report("a dry run makes nothing", made.length === 0 ? [] : [JSON.stringify(made)]);
}

async function main(python: string, folder: string): Promise<void> {
  if (!hasJavaCompiler()) {
    console.log("no javac on PATH, which what stands between Spark and Delta is compiled by");
    process.exit(77);
  }
  const work = mkdtempSync(join(tmpdir(), "sluice-declarative-"));
  const postgres = await startPostgres();
  const gateway = await GatewayUnderTest.create(postgres, {
    setup: [setup, "CREATE PUBLICATION p FOR ALL TABLES"],
    config: { types: { arrays: "nested" } },
  });
  try {
    const spark = await SparkPipelines.open(python, folder, work);
    console.log(`Spark ${spark.version}`);
    try {
      await lane(spark, gateway, work);
    } catch (error) {
      report("the lane", [String(error)]);
    } finally {
      await spark.close();
    }
  } finally {
    await gateway.close();
    await postgres.stop();
    rmSync(work, { recursive: true, force: true });
  }
}

main(process.argv[2], process.argv[3]).then(
  () => process.exit(told.isPassed ? 0 : 1),
  (error: unknown) => {
    console.error(error);
    process.exit(1);
  },
);
