import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { defaultTableOptions, type NamedTableOptions, tableModeSchema } from "../../runtime/table-options";
import { replayModes } from "../runtime/applier/mode-replay";
import { deltaRowText } from "../runtime/applier/staged-model";
import { readDeltaRows } from "../support/delta-reader";
import { Pipeline } from "../support/pipeline";
import { startPostgres } from "../support/postgres-server";
import type { SparkSession } from "./spark-session";
import { expectedTable } from "./table-set";

type Report = (what: string, problems: string[]) => void;

const modes = tableModeSchema.options;
/** scd1 four times: also with a change feed, clustered, and as the one that Spark deletes from and clusters. */
const tables: NamedTableOptions[] = [
  ...modes.map((mode) => ({ ...defaultTableOptions, mode, name: mode.toLowerCase() })),
  { ...defaultTableOptions, name: "feed", changeDataFeed: true },
  { ...defaultTableOptions, name: "clustered", clusterBy: ["name", "id"] },
  { ...defaultTableOptions, name: "thinned" },
].map((table) => ({ ...table, schema: "public" }));
const rows = 3_000;

/** Spark writes to tables that the applier writes to: nothing is lost, doubled or disturbed by either. */
export async function rivalWriter(spark: SparkSession, folder: string, report: Report): Promise<void> {
  const postgres = await startPostgres();
  const setup = tables.map(
    ({ name }) => `CREATE TABLE ${name} (id int PRIMARY KEY, name text, amount double precision);
      INSERT INTO ${name} SELECT i, 'n' || i, i / 8.0 FROM generate_series(1, ${rows}) i;`,
  );
  const pipeline = await Pipeline.open(postgres, setup.join("\n"));
  try {
    Object.assign(pipeline.applier.config, { tables, maintenance: { compaction: false, vacuum: false } });
    pipeline.start();
    await pipeline.settled();
    const rival = new Rival(spark, pipeline, folder, report);
    await rival.betweenBatches();
    await rival.atTheSameTime();
    await rival.changeFeed();
  } finally {
    await pipeline.close();
    await postgres.stop();
  }
}

class Rival {
  private round = 0;

  constructor(
    private readonly spark: SparkSession,
    private readonly pipeline: Pipeline,
    private readonly folder: string,
    private readonly report: Report,
  ) {}

  private place(name: string): string {
    return `delta.\`${this.pipeline.lakePath({ name })}\``;
  }

  /** Every kind of change in every table; rows that Spark deletes from one of them aren't touched. */
  private async batch(): Promise<void> {
    const round = ++this.round;
    for (const { name } of tables) {
      await this.pipeline.client.query(
        `BEGIN; UPDATE ${name} SET amount = amount + 1, name = 'round ${round}' WHERE id % 41 = ${round % 41} AND id % 7 > 0;
        DELETE FROM ${name} WHERE id % 43 = ${round % 43} AND id % 7 > 0;
        UPDATE ${name} SET id = id + 700000 WHERE id = ${round * 8} AND id % 7 > 0;
        INSERT INTO ${name} SELECT i, 'new', i FROM generate_series(${(rows + round * 20) * 7 + 1}, ${(rows + round * 20) * 7 + 4}) i;
        COMMIT`,
      );
    }
  }

  /** Against the source, or the model of the mode; and Spark's reading against ours. */
  private async expectEqual(when: string): Promise<void> {
    await this.pipeline.settled(120_000);
    const replayed = await replayModes(join(this.pipeline.folder, "staging"));
    for (const { name, mode } of tables) {
      const path = this.pipeline.lakePath({ name });
      const problems: string[] = [];
      if (mode === "scd1") problems.push(...(await this.pipeline.differences(name)));
      else {
        const found = (await readDeltaRows(path)).map(deltaRowText).sort();
        const wanted = replayed.get(this.pipeline.table(name).tableId)?.rows(mode).sort() ?? [];
        const differing = found.findIndex((row, at) => row !== wanted[at]);
        if (found.length !== wanted.length) problems.push(`${found.length} rows, not ${wanted.length}`);
        else if (differing >= 0) problems.push(`${found[differing]}, not ${wanted[differing]}`);
      }
      problems.push(...(await this.spark.compare(await expectedTable(path, this.folder))));
      this.report(`${name} ${when}`, problems);
    }
    const failed =
      this.pipeline.applier
        .status()
        ?.tables.filter(({ state }) => state.kind === "failed" || state.kind === "quarantined") ?? [];
    this.report(
      `applier ${when}`,
      failed.map(({ name, state }) => `${name}: ${JSON.stringify(state)}`),
    );
  }

  async betweenBatches(): Promise<void> {
    for (const { name } of tables) {
      await this.batch();
      await this.pipeline.settled();
      await this.spark.sql(`OPTIMIZE ${this.place(name)}${name === "scd1" ? " ZORDER BY (name)" : ""}`);
    }
    await this.spark.sql(`ALTER TABLE ${this.place("thinned")} CLUSTER BY (amount)`);
    await this.batch();
    await this.expectEqual("after OPTIMIZE by Spark");
    await this.clustering("clustered", ["name", "id"]);
    await this.clustering("thinned", ["amount"]);
    for (const { name } of tables) {
      if (name === "feed") continue;
      // VACUUM of Delta 4.4 fails where a deletion vector is inline (a scala.MatchError).
      await this.spark.sql(`REORG TABLE ${this.place(name)} APPLY (PURGE)`);
      await this.spark.sql(`VACUUM ${this.place(name)} RETAIN 0 HOURS`);
    }
    await this.spark.sql(`DELETE FROM ${this.place("thinned")} WHERE id % 7 = 0`);
    await this.batch();
    await this.pipeline.settled();
    // What the source deletes isn't there any more.
    await this.pipeline.client.query("DELETE FROM thinned WHERE id % 7 = 0");
    await this.expectEqual("after VACUUM and DELETE by Spark");
  }

  /** Spark knows by what a table is clustered, has clustered it so, and our batch since has left that as it was. */
  private async clustering(name: string, columns: string[]): Promise<void> {
    const [detail] = await this.spark.sql(`DESCRIBE DETAIL ${this.place(name)}`);
    const found = JSON.stringify(detail.clusteringColumns);
    const problems = found === JSON.stringify(columns) ? [] : [`it is clustered by ${found}`];
    if (name === "clustered") {
      const adds = this.newestCommit(name).flatMap(({ add }) => add ?? []);
      const kept = adds.filter(({ clusteringProvider, tags }) => clusteringProvider === "liquid" && tags?.ZCUBE_ID);
      // With another deletion vector.
      if (kept.length === 0) problems.push(`no file that Spark has clustered is left: ${JSON.stringify(adds)}`);
    }
    this.report(`${name} is clustered by ${columns.join(", ")}`, problems);
  }

  private newestCommit(name: string): { add?: { clusteringProvider?: string; tags?: Record<string, string> } }[] {
    const log = join(this.pipeline.lakePath({ name }), "_delta_log");
    const newest = readdirSync(log)
      .filter((each) => /^\d{20}\.json$/.test(each))
      .sort()
      .at(-1) as string;
    return readFileSync(join(log, newest), "utf8")
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line));
  }

  /** Commits of both among each other; either is refused by the other now and then, and plans again or gives up. */
  async atTheSameTime(): Promise<void> {
    const before = tables.map(({ name }) => this.operations(name).length);
    let [isOver, refused] = [false, 0];
    const writing = (async () => {
      while (!isOver) {
        await this.batch();
        // So long that Spark wins now and then too.
        await new Promise((resolve) => setTimeout(resolve, 100 + refused * 200));
      }
    })();
    try {
      const hasWon = () => tables.some(({ name }, at) => this.operations(name).slice(before[at]).includes("OPTIMIZE"));
      for (let round = 0; round < 2 || (round < 8 && !hasWon()); round++) {
        for (const { name } of tables) {
          refused += await this.mayLose(`OPTIMIZE ${this.place(name)}`);
          if (name === "thinned") refused += await this.mayLose(`DELETE FROM ${this.place(name)} WHERE id < 0`);
        }
      }
    } finally {
      isOver = true;
      await writing;
    }
    await this.expectEqual("after commits at the same time");
    const since = tables.flatMap(({ name }, at) => this.operations(name).slice(before[at]));
    const count = (operation: string) => since.filter((each) => each === operation).length;
    const told = `${count("MERGE")} commits of ours, ${count("OPTIMIZE")} of Spark, which gave up ${refused} times`;
    this.report(`at the same time: ${told}`, count("MERGE") > 0 && count("OPTIMIZE") > 0 ? [] : [since.join(" ")]);
  }

  /** What the commits in a table's log say they are, in order. */
  private operations(name: string): string[] {
    const log = join(this.pipeline.lakePath({ name }), "_delta_log");
    const commits = readdirSync(log).filter((each) => /^\d{20}\.json$/.test(each));
    return commits.sort().map((each) => {
      const [, operation = ""] = /"operation":"([^"]*)"/.exec(readFileSync(join(log, each), "utf8")) ?? [];
      return operation;
    });
  }

  /** Spark may lose against us: its error says that it was a conflict. */
  private async mayLose(statement: string): Promise<number> {
    try {
      await this.spark.sql(statement);
      return 0;
    } catch (error) {
      if (/DELTA_CONCURRENT|ConcurrentDelete|ConcurrentAppend|ConcurrentModification/i.test(String(error))) return 1;
      throw error;
    }
  }

  /** The table's first version and all changes since make its newest. */
  async changeFeed(): Promise<void> {
    const path = this.pipeline.lakePath({ name: "feed" });
    const columns = "id, name, amount";
    const counted = `SELECT ${columns}, sum(n) AS n FROM (
      SELECT ${columns}, 1 AS n FROM delta.\`${path}\` VERSION AS OF 0
      UNION ALL SELECT ${columns}, IF(_change_type IN ('insert', 'update_postimage'), 1, -1) AS n
      FROM table_changes_by_path('${path}', 1)) GROUP BY ${columns}`;
    const odd = await this.spark.sql(`SELECT * FROM (${counted}) WHERE n NOT IN (0, 1) LIMIT 3`);
    const table = await expectedTable(path, this.folder);
    const problems = await this.spark.compare(table, `SELECT ${columns} FROM (${counted}) WHERE n = 1`);
    this.report("change feed", [...odd.map((row) => JSON.stringify(row)), ...problems]);
    const types = await this.spark.sql(
      `SELECT _change_type AS type, count(*) AS rows FROM table_changes_by_path('${path}', 1) GROUP BY 1 ORDER BY 1`,
    );
    this.report("kinds of changes in the feed", types.length === 4 ? [] : [JSON.stringify(types)]);
  }
}
