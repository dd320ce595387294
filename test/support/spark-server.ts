import { type ChildProcess, spawn } from "node:child_process";
import { mkdirSync, readFileSync } from "node:fs";
import { connect } from "node:net";
import { join, resolve } from "node:path";

/** pyspark brings its own of these. */
const brought =
  "org.apache.hadoop org.apache.parquet org.apache.logging.log4j com.github.luben io.airlift org.xerial.snappy org.slf4j org.roaringbitmap org.locationtech.jts javax.annotation com.google.code.findbugs com.fasterxml.jackson.core com.fasterxml.jackson.module com.fasterxml.jackson.datatype";

/** What listens in Spark. */
export interface SparkService {
  mainClass: string;
  settings: Record<string, string>;
  mainArguments: string[];
}

/** Thrift over HTTP, on every interface: for a network namespace of its own. */
const thriftService = (port: number): SparkService => ({
  mainClass: "org.apache.spark.sql.hive.thriftserver.HiveThriftServer2",
  // What is compiled for a small statement runs once.
  settings: { "spark.sql.codegen.factoryMode": "NO_CODEGEN" },
  mainArguments: [
    ...["--hiveconf", "hive.server2.transport.mode=http", "--hiveconf", `hive.server2.thrift.http.port=${port}`],
    ...["--hiveconf", "hive.server2.thrift.http.path=cliservice"],
  ],
});

/** Spark with Delta, as a server: by default of thrift. */
export class SparkServer {
  private output = "";

  private constructor(
    private readonly child: ChildProcess,
    readonly port: number,
  ) {}

  /**
   * `python`: of a virtual environment with pyspark; `folder`: keeps the jars. Tables are in folders `<schema>.db` of
   * `tables`, by default a folder of `folder`, as are Spark's own files.
   */
  static async start(
    python: string,
    folder: string,
    {
      port = 10_199,
      tables = join(folder, "warehouse"),
      work = folder,
      service = thriftService(port),
    }: { port?: number; tables?: string; work?: string; service?: SparkService } = {},
  ): Promise<SparkServer> {
    for (const each of [folder, work]) mkdirSync(each, { recursive: true });
    const root = resolve(__dirname, __dirname.includes("/dist/") ? "../../.." : "../..");
    const lanes = join(root, "test", "lanes");
    const settings: Record<string, string> = {
      "spark.jars.packages": "io.delta:delta-spark_4.2_2.13:4.4.0",
      "spark.jars.excludes": brought
        .split(" ")
        .map((group) => `${group}:*`)
        .join(","),
      "spark.jars.ivy": join(folder, "ivy"),
      "spark.jars.ivySettings": join(lanes, "ivysettings.xml"),
      "spark.driver.host": "127.0.0.1",
      "spark.driver.bindAddress": "127.0.0.1",
      "spark.ui.enabled": "false",
      "spark.sql.catalogImplementation": "in-memory",
      "spark.sql.extensions": "io.delta.sql.DeltaSparkSessionExtension",
      "spark.sql.catalog.spark_catalog": "org.apache.spark.sql.delta.catalog.DeltaCatalog",
      "spark.sql.session.timeZone": "UTC",
      "spark.sql.warehouse.dir": tables,
      "spark.log.level": "WARN",
      "spark.sql.maxPlanStringLength": "1000",
      "spark.sql.shuffle.partitions": "2",
      "spark.sql.codegen.wholeStage": "false",
      "spark.sql.adaptive.enabled": "false",
      "spark.databricks.delta.snapshotPartitions": "1",
      ...service.settings,
    };
    const javaOptions = readFileSync(join(lanes, "spark-java-options"), "utf8").trim();
    const submit = join(python, "..", "..", "bin", "spark-submit");
    const child = spawn(
      submit,
      [
        ...["--class", service.mainClass, "--master", "local[2]"],
        // Statements are many and small: what makes a JVM fast later makes it slow at first.
        ...["--driver-memory", "2g", "--driver-java-options", javaOptions],
        ...Object.entries(settings).flatMap(([name, value]) => ["--conf", `${name}=${value}`]),
        "spark-internal",
        ...service.mainArguments,
      ],
      {
        cwd: work,
        env: { ...process.env, SPARK_LOCAL_IP: "127.0.0.1", PYSPARK_PYTHON: python, PYSPARK_DRIVER_PYTHON: python },
        stdio: ["ignore", "pipe", "pipe"],
      },
    );
    const server = new SparkServer(child, port);
    for (const stream of [child.stdout, child.stderr]) {
      stream?.on("data", (chunk: Buffer) => {
        server.output = (server.output + chunk.toString()).slice(-20_000);
      });
    }
    await server.listening(300_000);
    return server;
  }

  get log(): string {
    return this.output;
  }

  private async listening(timeoutMs: number): Promise<void> {
    const untilMs = performance.now() + timeoutMs;
    while (performance.now() < untilMs) {
      if (this.child.exitCode !== null) break;
      const isThere = await new Promise<boolean>((resolveProbe) => {
        const socket = connect(this.port, "127.0.0.1", () => {
          socket.destroy();
          resolveProbe(true);
        });
        socket.on("error", () => resolveProbe(false));
      });
      if (isThere) return;
      await new Promise((resolveWait) => setTimeout(resolveWait, 200));
    }
    this.child.kill("SIGKILL");
    throw new Error(`Spark's server doesn't listen: ${this.output.slice(-4_000)}`);
  }

  async close(): Promise<void> {
    if (this.child.exitCode !== null) return;
    const ended = new Promise((resolveEnd) => this.child.once("exit", resolveEnd));
    this.child.kill("SIGTERM");
    const timer = setTimeout(() => this.child.kill("SIGKILL"), 30_000);
    await ended;
    clearTimeout(timer);
  }
}
