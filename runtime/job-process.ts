import { readFileSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import { readHealth } from "./commands/health";
import { FilesApi } from "./databricks/files-api";
import { resolveWorkspace } from "./databricks/workspace";
import { WorkspaceClient } from "./databricks/workspace-client";
import { workspaceSchema } from "./databricks-config";
import { describeError, SluiceError } from "./errors";
import { placeProcess, stopTimeoutMs } from "./machine-process";
import { log } from "./operate/log";
import { RotatingLog } from "./operate/rotating-log";
import type { StatusDocument } from "./status";
import { superviseProcess } from "./supervisor";

/** What a job tells of its process where anybody who may can read it, as nobody reaches a port of its machine. */
export interface JobReport {
  /** of the job's run that has the process */
  run: string;
  /** what was deployed */
  deployment: string;
  /** when it was told, ISO 8601 */
  at: string;
  healthy: boolean;
  /** null: the process has written none yet */
  status: StatusDocument | null;
  /** of its log, the last ones */
  lines: string[];
}

const jobSchema = z.looseObject({
  /** a process's configuration */
  config: z.looseObject({ staging: z.looseObject({ workspace: workspaceSchema }) }),
  report: z.strictObject({
    /** of a file in a volume of the staging's workspace */
    path: z.string().startsWith("/Volumes/"),
    deployment: z.string(),
    /** how often it is told while nothing changes */
    everyMs: z.int().min(1),
  }),
});
export type JobDocument = z.input<typeof jobSchema>;

const lookMs = 500;
const linesMax = 20;
const lineCharactersMax = 500;

/** Runs a process, and again after a crash, as the platform's own pauses grow; and tells how it is. */
export async function runAsJob(path: string, { mainPath }: { mainPath: string }): Promise<void> {
  const { config, report } = readJob(path);
  const { folder, configPath } = placeProcess("job", config, { port: 0, host: "127.0.0.1" });
  // The output of a run has a limit, by which it would end.
  const file = new RotatingLog(join(folder, "process.log"));
  let tail = "";
  const keep = (chunk: Buffer | string) => {
    file.write(chunk);
    tail = (tail + chunk.toString()).slice(-linesMax * lineCharactersMax);
  };
  const reporter = startReporter(
    () => told(join(folder, "status.json"), report.deployment, tail),
    config.staging.workspace,
    report,
  );
  try {
    await superviseProcess(configPath, { mainPath, stopTimeoutMs, log: { write: keep } });
  } finally {
    await reporter.stop();
  }
}

function readJob(path: string): z.output<typeof jobSchema> {
  try {
    return jobSchema.parse(JSON.parse(readFileSync(path, "utf8")));
  } catch (cause) {
    throw new SluiceError("config", `${path} can't be read as what a job runs`, {
      remedy: "Deploy the job by pulumi up, with an image of the same version.",
      cause,
    });
  }
}

async function told(statusPath: string, deployment: string, tail: string): Promise<JobReport> {
  const { healthy } = await readHealth(statusPath);
  const text = await readFile(statusPath, "utf8").catch(() => "null");
  const lines = tail.trimEnd().split("\n").slice(-linesMax);
  return {
    run: process.env.SLUICE_JOB_RUN ?? "",
    deployment,
    at: new Date().toISOString(),
    healthy,
    status: JSON.parse(text) as StatusDocument | null,
    lines: lines.map((line) => line.slice(0, lineCharactersMax)),
  };
}

/** A report replaces the former one as a whole; one that can't be told is followed by the next. */
function startReporter(
  tell: () => Promise<JobReport>,
  workspace: z.output<typeof workspaceSchema>,
  { path, everyMs }: { path: string; everyMs: number },
): { stop(): Promise<void> } {
  const client = new WorkspaceClient(resolveWorkspace(workspace), { retryMsMax: 3_000, idleMsMax: 5_000 });
  const files = new FilesApi(client);
  let [known, toldMs, isFailing] = ["", 0, false];
  let work: Promise<void> | null = null;
  const look = async (isLast: boolean) => {
    try {
      const report = await tell();
      const condition = JSON.stringify([report.healthy, report.status?.startedAt, report.status?.state]);
      if (!isLast && condition === known && Date.now() - toldMs < everyMs) return;
      await files.write(path, `${JSON.stringify(report)}\n`);
      [known, toldMs, isFailing] = [condition, Date.now(), false];
    } catch (error) {
      if (!isFailing) log("warning", "report", { path, error: describeError(error) });
      isFailing = true;
    }
  };
  const timer = setInterval(() => {
    work ??= look(false).finally(() => {
      work = null;
    });
  }, lookMs);
  return {
    stop: async () => {
      clearInterval(timer);
      await work;
      await look(true);
      client.close();
    },
  };
}
