import { spawnSync } from "node:child_process";
import { mkdirSync, readdirSync } from "node:fs";
import { join, resolve } from "node:path";
import { freePort } from "../support/free-port";
import { SparkServer } from "../support/spark-server";
import { SparkSession, spawnScript } from "./spark-session";

/** An update of a declarative pipeline. */
export interface UpdateRequest {
  /** a pipeline's specification, as spark-pipelines has it */
  spec: string;
  /** nothing is carried out */
  dry?: boolean;
  /** full names of tables that begin anew */
  fullRefresh?: string[];
  /** full names of the only tables that are brought up to date; default all */
  refresh?: string[];
}

/** Declarative pipelines of Spark itself, with Delta, on a server of its own. */
export class SparkPipelines extends SparkSession {
  private server: SparkServer | undefined;

  /**
   * `python`: of a virtual environment with pyspark[pipelines]; `folder`: keeps the jars; `work`: for tables and Spark's own
   * files.
   */
  static async open(python: string, folder: string, work: string): Promise<SparkPipelines> {
    const port = await freePort();
    const server = await SparkServer.start(python, folder, {
      port,
      tables: join(work, "warehouse"),
      work,
      service: {
        mainClass: "org.apache.spark.sql.connect.service.SparkConnectServer",
        settings: {
          "spark.jars": rowLevelCatalog(python, folder, work),
          "spark.sql.catalog.spark_catalog": "sluice.test.RowLevelDeltaCatalog",
          "spark.sql.sources.default": "delta",
          "spark.connect.grpc.binding.address": "127.0.0.1",
          "spark.connect.grpc.binding.port": String(port),
          // Each flow starts a process of Python, for which Spark waits 10 seconds.
          "spark.sql.pipelines.execution.maxConcurrentFlows": "2",
          "spark.sql.pipelines.maxFlowRetryAttempts": "2",
          "spark.sql.pipelines.execution.watchdog.minRetryTime": "1s",
        },
        mainArguments: [],
      },
    });
    const remote = { SPARK_REMOTE: `sc://127.0.0.1:${port}` };
    const session = new SparkPipelines(spawnScript(python, "spark_pipelines.py", work, remote));
    session.server = server;
    await session.started();
    return session;
  }

  /** @returns what Spark lacks of Databricks' functions; @throws with the events of an update that fails */
  async update({ spec, dry = false, fullRefresh = [], refresh = [] }: UpdateRequest): Promise<string[]> {
    return (await this.ask({ update: spec, dry, full_refresh: fullRefresh, refresh })).left_out ?? [];
  }

  /** Differences between a table, by its full name, and a Delta table in a folder; and how many rows the latter has. */
  async differences(table: string, path: string): Promise<{ differences: string[]; count: number }> {
    const { differences = [], count = 0 } = await this.ask({ differences: table, path });
    return { differences, count };
  }

  override async close(): Promise<void> {
    await super.close();
    await this.server?.close();
  }
}

/** Whether what stands between Spark and Delta can be compiled here. */
export const hasJavaCompiler = () => spawnSync("javac", ["-version"]).status === 0;

/** A jar with test/support/spark-catalog. */
function rowLevelCatalog(python: string, folder: string, work: string): string {
  const source = resolve(__dirname, "../../../test/support/spark-catalog/RowLevelDeltaCatalog.java");
  const library = join(python, "..", "..", "lib");
  const spark = readdirSync(library).map((name) => join(library, name, "site-packages", "pyspark", "jars", "*"));
  const [classes, jar] = [join(work, "catalog"), join(work, "catalog.jar")];
  mkdirSync(classes, { recursive: true });
  run("javac", ["-d", classes, "-cp", [...spark, join(folder, "ivy", "jars", "*")].join(":"), source]);
  run("jar", ["--create", "--file", jar, "-C", classes, "."]);
  return jar;
}

function run(program: string, parameters: string[]): void {
  const { status, stderr, error } = spawnSync(program, parameters, { encoding: "utf8" });
  if (status !== 0) throw new Error(`${program}: ${error?.message ?? stderr}`);
}
