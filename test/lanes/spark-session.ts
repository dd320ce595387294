import { type ChildProcessWithoutNullStreams, spawn } from "node:child_process";
import { resolve } from "node:path";
import { createInterface } from "node:readline";
import type { ExpectedTable } from "./table-set";

type Row = Record<string, unknown>;
export type Answer = {
  version?: string;
  rows?: Row[];
  differences?: string[];
  lines?: string[];
  count?: number;
  events?: string[];
  left_out?: string[];
  errors?: Record<string, string>;
  dropped?: Record<string, number>;
  error?: string;
};

/** Runs a script of this folder. */
export function spawnScript(
  python: string,
  script: string,
  folder: string,
  environment: Record<string, string> = {},
): ChildProcessWithoutNullStreams {
  const path = resolve(__dirname, "..", "..", "..", "test", "lanes", script);
  return spawn(python, [path, folder], {
    cwd: folder,
    env: { ...process.env, SPARK_LOCAL_IP: "127.0.0.1", ...environment },
  });
}

/** Spark in a process of its own (spark_session.py, or another script of requests by lines); one request at a time. */
export class SparkSession {
  private readonly waiting: { resolve: (answer: Answer) => void; reject: (error: Error) => void }[] = [];
  private output = "";
  version = "";

  protected constructor(private readonly child: ChildProcessWithoutNullStreams) {
    createInterface({ input: child.stdout }).on("line", (line) => this.waiting.shift()?.resolve(JSON.parse(line)));
    child.stderr.on("data", (chunk: Buffer) => {
      this.output = (this.output + chunk.toString()).slice(-20_000);
    });
    child.on("close", () => {
      for (const { reject } of this.waiting.splice(0)) reject(new Error(`Spark ended: ${this.output.slice(-4000)}`));
    });
  }

  /** `python`: of a virtual environment that has pyspark; `folder`: for jars and Spark's own files. */
  static async start(python: string, folder: string): Promise<SparkSession> {
    const session = new SparkSession(spawnScript(python, "spark_session.py", folder));
    await session.started();
    return session;
  }

  protected async started(): Promise<void> {
    this.version = (await this.answer(600_000)).version ?? "";
  }

  async sql(text: string): Promise<Row[]> {
    return (await this.ask({ sql: text })).rows ?? [];
  }

  /** Differences between what Spark reads and what is expected. */
  async compare(table: ExpectedTable, query?: string): Promise<string[]> {
    return (await this.ask({ compare: { ...table, query } })).differences ?? [];
  }

  /** A table's rows as canonical text. */
  async lines(path: string): Promise<string[]> {
    return (await this.ask({ lines: path })).lines ?? [];
  }

  async close(): Promise<void> {
    if (this.child.exitCode !== null) return;
    const closed = new Promise((resolveClose) => this.child.on("close", resolveClose));
    this.child.stdin.end();
    const timer = setTimeout(() => this.child.kill("SIGKILL"), 30_000);
    await closed;
    clearTimeout(timer);
  }

  protected async ask(request: object): Promise<Answer> {
    const answer = this.answer(600_000);
    this.child.stdin.write(`${JSON.stringify(request)}\n`);
    const found = await answer;
    if (found.error !== undefined) throw new Error(`Spark: ${found.error}\n${JSON.stringify(request).slice(0, 500)}`);
    return found;
  }

  private answer(timeoutMs: number): Promise<Answer> {
    return new Promise((resolveAnswer, reject) => {
      const timer = setTimeout(() => reject(new Error(`Spark gave no answer: ${this.output}`)), timeoutMs);
      const settle =
        <T>(then: (value: T) => void) =>
        (value: T) => {
          clearTimeout(timer);
          then(value);
        };
      this.waiting.push({ resolve: settle(resolveAnswer), reject: settle(reject) });
    });
  }
}
