import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { type DatabricksApps, killGroup, tryJson } from "./databricks-apps";
import { ApiFailure, type Reply } from "./databricks-reply";

type Values = Record<string, unknown>;

interface Cluster extends Values {
  docker_image?: { url?: string; basic_auth?: { username: string; password: string } };
  spark_env_vars?: Record<string, string>;
  spark_conf?: Record<string, string>;
}

interface Settings extends Values {
  name?: string;
  description?: string;
  continuous?: { pause_status?: string };
  job_clusters?: { job_cluster_key: string; new_cluster: Cluster }[];
  tasks?: {
    job_cluster_key: string;
    max_retries?: number;
    spark_python_task: { python_file: string; parameters?: string[] };
  }[];
}

interface StandInRun {
  run_id: number;
  settings: Settings;
  state: "PENDING" | "RUNNING" | "TERMINATING" | "TERMINATED";
  end?: { code: string; message: string };
  child: ChildProcess | null;
  place: string;
  /** what it has printed */
  log: string;
  killed: boolean;
  startedMs: number;
}

interface StandInJob {
  job_id: number;
  settings: Settings;
  runs: StandInRun[];
  /** one after another */
  failures: number;
  timer: NodeJS.Timeout | null;
}

/** How the file of a task is run. */
export type TaskRunner =
  /** as on a real cluster */
  | "python"
  /** what it starts is started without it, where a machine has no Python */
  | "node"
  /** no process: a test tells what the run does */
  | "none";

export const hasPython = (): boolean => spawnSync("python3", ["--version"]).status === 0;

/**
 * Jobs of a workspace (API 2.2), as Databricks' published client and pages tell: names aren't unique, and a filter by name doesn't
 * look at the case; lists come in pages, without tasks and clusters; an id that isn't there is 400 INVALID_PARAMETER_VALUE; settings
 * hold for future runs only. A continuous job that isn't paused has one run at a time: one that ends is followed by another, after
 * failures with growing pauses, and none after a pause was asked for. A run has a machine with a disk of its own, from which a file of the
 * workspace runs as a process with the cluster's variables, secrets in their places, and no others. A cancelled run's process gets
 * SIGTERM, then SIGKILL. The image is where the paths in the task's parameters point to.
 */
export class DatabricksJobs {
  readonly jobs = new Map<number, StandInJob>();
  /** those that can be pulled; null: any */
  images: Set<string> | null = null;
  runner: TaskRunner = "node";
  /** what a run without a process does */
  onRun: (id: number, task: string) => void = () => {};
  /** what `trusted` is to apps */
  trusted: string | null = null;
  /** a machine takes so long, a run's successor, and a process to end before it is killed */
  paces = { machineMs: 20, nextMs: 20, killMs: 15_000 };
  private lastId = 100;

  constructor(
    private readonly folder: string,
    private readonly workspace: Pick<DatabricksApps, "files" | "scopes">,
  ) {}

  named(name: string): StandInJob {
    const found = [...this.jobs.values()].find(({ settings }) => settings.name === name);
    if (found === undefined) throw new Error(`there is no job ${name}`);
    return found;
  }

  /** The run that is under way. */
  active(name: string): StandInRun | undefined {
    return this.named(name).runs.find(({ state }) => state !== "TERMINATED");
  }

  /** The machine of a job's run is gone at once. */
  async lose(name: string): Promise<void> {
    const run = this.active(name);
    if (run === undefined) throw new Error(`${name} has no run`);
    await this.end(run, 0, { code: "CLUSTER_ERROR", message: "The cluster was lost." });
    this.follow(this.named(name), false);
  }

  /** What a run's task does by itself, without a process. */
  async finish(name: string, end: { code: string; message: string }): Promise<void> {
    const run = this.active(name);
    if (run === undefined) throw new Error(`${name} has no run`);
    await this.end(run, 0, end);
    this.follow(this.named(name), end.code === "SUCCESS");
  }

  async close(): Promise<void> {
    for (const job of this.jobs.values()) {
      if (job.timer !== null) clearTimeout(job.timer);
      job.settings.continuous = { pause_status: "PAUSED" };
      for (const run of job.runs) await this.end(run, this.paces.killMs, { code: "USER_CANCELED", message: "" });
    }
  }

  /** Null for what isn't theirs. */
  async answer(method: string, path: string, query: URLSearchParams, content: string): Promise<Reply | null> {
    if (path === "/api/2.1/clusters/list-node-types") return ok({ node_types: nodeTypes });
    if (!path.startsWith("/api/2.2/jobs/")) return null;
    const body = (content === "" ? {} : tryJson(content)) as Values;
    const what = `${method} ${path.slice("/api/2.2/jobs/".length)}`;
    if (what === "POST create") return this.create(body as Settings);
    if (what === "GET list") return this.list(query);
    if (what === "POST runs/cancel") return this.cancel(Number(body.run_id));
    const id = Number(body.job_id ?? query.get("job_id"));
    const job = this.jobs.get(id);
    if (job === undefined) throw invalid(`Job ${id} does not exist.`);
    switch (what) {
      case "GET get":
        return ok({ job_id: id, created_time: 1, settings: job.settings });
      case "POST reset":
      case "POST update": {
        const given = body.new_settings as Settings;
        const settings = what === "POST reset" ? given : { ...job.settings, ...given };
        validate(settings);
        job.settings = settings;
        if (isPaused(job)) {
          if (job.timer !== null) clearTimeout(job.timer);
          job.timer = null;
        } else if (job.timer === null && !job.runs.some(isActive)) {
          job.failures = 0;
          this.schedule(job);
        }
        return ok({});
      }
      case "POST delete":
        this.jobs.delete(id);
        if (job.timer !== null) clearTimeout(job.timer);
        // Its runs aren't ended by that.
        return ok({});
      case "GET runs/list":
        return this.listRuns(job, query);
    }
    throw new ApiFailure(404, "ENDPOINT_NOT_FOUND", `No API found for '${method} ${path}'`);
  }

  private create(settings: Settings): Reply {
    validate(settings);
    const job: StandInJob = { job_id: ++this.lastId, settings, runs: [], failures: 0, timer: null };
    this.jobs.set(job.job_id, job);
    if (!isPaused(job)) this.schedule(job);
    return ok({ job_id: job.job_id });
  }

  private list(query: URLSearchParams): Reply {
    const limit = Number(query.get("limit") ?? 20);
    if (!(limit > 0 && limit <= 100)) throw invalid(`limit ${limit}`);
    const name = query.get("name")?.toLowerCase();
    const all = [...this.jobs.values()]
      .filter(({ settings }) => name === undefined || settings.name?.toLowerCase() === name)
      .sort((one, other) => other.job_id - one.job_id);
    // Shorter pages than were asked for are allowed.
    const at = Number(query.get("page_token") ?? 0);
    const jobs = all.slice(at, at + 1).map(({ job_id, settings }) => {
      const { tasks, job_clusters, ...told } = settings;
      return { job_id, created_time: 1, settings: told };
    });
    return ok({
      ...(jobs.length === 0 ? {} : { jobs }),
      has_more: at + 1 < all.length,
      ...(at + 1 < all.length ? { next_page_token: String(at + 1) } : {}),
    });
  }

  private listRuns(job: StandInJob, query: URLSearchParams): Reply {
    const limit = Number(query.get("limit") ?? 20);
    if (!(limit >= 0 && limit < 25)) throw invalid(`limit ${limit}`);
    const runs = [...job.runs]
      .reverse()
      .slice(0, limit)
      .map(({ run_id, state, end }) => ({
        run_id,
        job_id: job.job_id,
        run_page_url: `https://workspace.example/jobs/${job.job_id}/runs/${run_id}`,
        status: { state, ...(end === undefined ? {} : { termination_details: { ...end, type: "CLIENT_ERROR" } }) },
      }));
    return ok(runs.length === 0 ? {} : { runs });
  }

  private cancel(id: number): Reply {
    for (const job of this.jobs.values()) {
      const run = job.runs.find(({ run_id }) => run_id === id);
      if (run === undefined) continue;
      if (isActive(run)) {
        void this.end(run, this.paces.killMs, { code: "USER_CANCELED", message: "Run cancelled." }).then(() => {
          this.follow(job, true);
        });
      }
      return ok({});
    }
    throw invalid(`Run ${id} does not exist.`);
  }

  /** After a run's end. */
  private follow(job: StandInJob, isGood: boolean): void {
    job.failures = isGood ? 0 : job.failures + 1;
    if (this.jobs.get(job.job_id) !== job || isPaused(job) || job.timer !== null || job.runs.some(isActive)) return;
    this.schedule(job);
  }

  private schedule(job: StandInJob): void {
    job.timer = setTimeout(
      () => {
        job.timer = null;
        void this.start(job);
      },
      this.paces.nextMs * 2 ** job.failures,
    );
  }

  private async start(job: StandInJob): Promise<void> {
    const run_id = ++this.lastId;
    const run: StandInRun = {
      ...{ run_id, settings: structuredClone(job.settings), state: "PENDING", child: null, log: "" },
      ...{ place: join(this.folder, "jobs", String(run_id)), killed: false, startedMs: Date.now() },
    };
    job.runs.push(run);
    await new Promise((done) => setTimeout(done, this.paces.machineMs));
    if (run.state !== "PENDING") return;
    try {
      this.begin(job, run);
    } catch (error) {
      const { code = "INTERNAL_ERROR", message } = error as Error & { code?: string };
      run.state = "TERMINATED";
      run.end = { code, message };
      this.follow(job, false);
    }
  }

  private begin(job: StandInJob, run: StandInRun): void {
    const [{ job_cluster_key, spark_python_task }] = run.settings.tasks ?? [];
    const cluster = run.settings.job_clusters?.find((each) => each.job_cluster_key === job_cluster_key)?.new_cluster;
    if (cluster === undefined) throw ended("INVALID_RUN_CONFIGURATION", `no cluster ${job_cluster_key}`);
    const environment = this.machine(cluster);
    const file = this.workspace.files.get(spark_python_task.python_file);
    if (file === undefined)
      throw ended("RESOURCE_NOT_FOUND", `Cannot read the python file ${spark_python_task.python_file}`);
    const parameters = (spark_python_task.parameters ?? []).map((each) =>
      each.replace("{{job.run_id}}", String(run.run_id)),
    );
    run.state = "RUNNING";
    if (this.runner === "none") {
      this.onRun(run.run_id, file.toString("utf8"));
      return;
    }
    mkdirSync(run.place, { recursive: true });
    const path = join(run.place, "task.py");
    writeFileSync(path, file);
    const [program, args, own] = this.command(path, file.toString("utf8"), parameters, run.place);
    const child = spawn(program, args, {
      cwd: run.place,
      detached: true,
      env: {
        ...{ PATH: `${dirname(process.execPath)}:${process.env.PATH}`, TMPDIR: run.place },
        ...(this.trusted === null ? {} : { NODE_EXTRA_CA_CERTS: this.trusted }),
        ...environment,
        ...own,
      },
      stdio: ["ignore", "pipe", "pipe"],
    });
    run.child = child;
    for (const stream of [child.stdout, child.stderr]) stream.on("data", (chunk) => (run.log += chunk));
    child.on("exit", (code) => {
      if (run.state !== "RUNNING") return;
      const isGood = code === 0;
      const message = isGood ? "" : `Task failed with ${run.log.trimEnd().split("\n").at(-1)}`;
      void this.end(run, 0, { code: isGood ? "SUCCESS" : "RUN_EXECUTION_ERROR", message }).then(() =>
        this.follow(job, isGood),
      );
    });
  }

  private command(path: string, text: string, parameters: string[], place: string): [string, string[], object] {
    if (this.runner === "python") return ["python3", [path, ...parameters], {}];
    const [node, main, run] = parameters;
    const document = /^job = (.*)$/m.exec(text)?.[1] ?? "null";
    const config = join(place, "job.json");
    writeFileSync(config, JSON.parse(document) as string);
    return [node, [main, "job", "--config", config], { SLUICE_JOB_RUN: run }];
  }

  /** The variables of a machine that can be had. */
  private machine(cluster: Cluster): Record<string, string> {
    const { docker_image, spark_conf, spark_env_vars } = cluster;
    if (docker_image?.url === undefined || cluster.data_security_mode !== "SINGLE_USER") {
      throw ended("INVALID_CLUSTER_REQUEST", "Custom containers need dedicated access mode");
    }
    if (cluster.num_workers === 0 && spark_conf?.["spark.databricks.cluster.profile"] !== "singleNode") {
      throw ended("INVALID_CLUSTER_REQUEST", "a cluster without workers is no single node");
    }
    const read = (value: string) =>
      value.replaceAll(/\{\{secrets\/([^/]+)\/([^}]+)\}\}/g, (_, scope: string, key: string) => {
        const secret = this.workspace.scopes.get(scope)?.get(key);
        if (secret === undefined) throw ended("INVALID_CLUSTER_REQUEST", `Secret does not exist: ${scope}/${key}`);
        return secret;
      });
    for (const value of Object.values(docker_image.basic_auth ?? {})) read(value);
    if (this.images !== null && !this.images.has(docker_image.url)) {
      throw ended("CLUSTER_ERROR", `DOCKER_IMAGE_PULL_FAILURE: ${docker_image.url} not found`);
    }
    return Object.fromEntries(Object.entries(spark_env_vars ?? {}).map(([name, value]) => [name, read(value)]));
  }

  /** With all that it has started, and its disk. @param graceMs 0: without a word */
  private async end(run: StandInRun, graceMs: number, end: { code: string; message: string }): Promise<void> {
    if (run.state === "TERMINATING" || run.state === "TERMINATED") return;
    run.state = "TERMINATING";
    const { child } = run;
    if (child !== null && child.exitCode === null && child.signalCode === null) {
      const gone = new Promise((done) => child.once("exit", done));
      if (graceMs > 0) child.kill("SIGTERM");
      const kill = setTimeout(() => {
        run.killed = graceMs > 0;
        child.kill("SIGKILL");
      }, graceMs);
      await gone;
      clearTimeout(kill);
    }
    killGroup(child?.pid);
    rmSync(run.place, { recursive: true, force: true, maxRetries: 10 });
    run.end = end;
    run.state = "TERMINATED";
  }
}

const nodeTypes = [
  { node_type_id: "m6i.large", memory_mb: 8192, num_cores: 2 },
  { node_type_id: "m6i.xlarge", memory_mb: 16384, num_cores: 4 },
  { node_type_id: "m6g.large", memory_mb: 8192, num_cores: 2, is_graviton: true },
];

const ok = (body: object): Reply => ({ status: 200, body });
const invalid = (message: string) => new ApiFailure(400, "INVALID_PARAMETER_VALUE", message);
const ended = (code: string, message: string) => Object.assign(new Error(message), { code });
const isPaused = ({ settings }: StandInJob) => settings.continuous?.pause_status === "PAUSED";
const isActive = ({ state }: StandInRun) => state !== "TERMINATED";

function validate({ continuous, tasks = [], job_clusters = [], max_concurrent_runs }: Settings): void {
  if (continuous === undefined) return;
  if (tasks.some(({ max_retries }) => max_retries !== undefined)) throw invalid("a continuous job has no retry policy");
  if (max_concurrent_runs !== undefined && max_concurrent_runs !== 1) {
    throw invalid("a continuous job has one run at a time");
  }
  for (const { job_cluster_key } of tasks) {
    if (job_clusters.some((each) => each.job_cluster_key === job_cluster_key)) continue;
    throw invalid(`Job cluster ${job_cluster_key} is not defined.`);
  }
}
