import { rmSync } from "node:fs";
import { join } from "node:path";
import type { Client } from "pg";
import type { Equality } from "../support/equality";
import { awaitCaughtUp, awaitStack, isStreaming, type StackStatus, type StatusPaths } from "../support/stack-status";
import { extraTable, tpchTables } from "../support/tpch";
import { startWorkload, type Workload } from "../support/workload";
import type { RunCommand } from "./demo-command";
import { type DemoLake, folderLake } from "./demo-lake";
import { type DemoSession, makeDemoFolder, openDemoStack, stateDir, writeSession } from "./demo-session";
import {
  connectDemo,
  connectionOf,
  type DemoSource,
  loadDemo,
  readTraces,
  type SourceTraces,
  startDemoSource,
} from "./demo-source";
import { keptInstructions } from "./kept-demo";
import { progressLines, progressSummary } from "./progress-lines";
import { proveEqual } from "./proof";
import { runTable } from "./run-table";
import {
  containerLogLines,
  containersOf,
  endContainers,
  endProcesses,
  logLines,
  processesOf,
} from "./runtime-processes";
import type { Screen } from "./screen";
import { openSparkLake } from "./spark-lake";
import type { SparkTools } from "./spark-network";
import { changesOf, operate } from "./stack-operations";

export interface DemoResult {
  tables: { name: string; rows: number; upserted: number; deleted: number; equal: boolean }[];
  slots: number;
  publications: number;
  processes: number;
  /** with --target docker */
  containers?: number;
  /** with --destination spark: bytes that the Files API was sent */
  uploadedBytes?: number;
  mergeStatements?: number;
  seconds: number;
}

/** How long the workload goes on when every table streams. */
const streamingMs = 5_000;
/** A batch of Spark takes seconds for each table. */
const sparkMs = 300_000;

/** One run. `run` throws when something doesn't hold; `cleanUp` leaves nothing, however far it came. */
export class Demo {
  private readonly startedMs = Date.now();
  private readonly folder = makeDemoFolder();
  private source: DemoSource | null = null;
  private client: Client | null = null;
  private lake: DemoLake | null = null;
  private workload: Workload | null = null;
  private session!: DemoSession;
  private before!: SourceTraces;
  private paths!: StatusPaths;
  private proofs = new Map<string, Equality>();
  private status: StackStatus = { gateway: null, applier: null };
  private left: Pick<DemoResult, "slots" | "publications" | "processes" | "containers"> = {
    ...{ slots: 0, publications: 0, processes: 0 },
  };

  constructor(
    private readonly command: RunCommand,
    private readonly screen: Screen,
    private readonly signal: AbortSignal,
    /** for --destination spark */
    private readonly tools: SparkTools | null = null,
  ) {}

  async run(): Promise<void> {
    const steps = [
      ...(this.tools === null ? [] : [() => this.startSpark(this.tools as SparkTools)]),
      () => this.startSource(),
      () => this.preview(),
      () => this.up(),
      () => this.follow([...tpchTables]),
      () => this.prove([...tpchTables]),
      () => this.addTable(),
      () => this.refresh(),
      () => (this.command.keep ? this.keep() : this.destroy()),
    ];
    for (const step of steps) {
      await step();
      this.signal.throwIfAborted();
    }
  }

  private async startSpark({ python, jars }: SparkTools): Promise<void> {
    this.screen.step("Spark starts, with a stand-in of a workspace's Files API");
    this.lake = await openSparkLake(this.folder, python, jars);
  }

  private async startSource(): Promise<void> {
    const { screen, command } = this;
    screen.step("PostgreSQL starts, and is loaded");
    this.source = await startDemoSource(command.keep);
    const { version, password, stop: _, ...address } = this.source;
    const folder = command.lake ?? join(this.folder, "lake");
    this.lake ??= folderLake(folder);
    this.session = {
      version: 1,
      folder: this.folder,
      ...address,
      lake: folder,
      tables: [...tpchTables],
      target: command.target,
      ...(this.lake.inputs === undefined ? {} : { warehouse: this.lake.inputs }),
    };
    writeSession(this.session, password);
    const rows = await loadDemo(this.source, command.scale);
    this.client = await connectDemo(this.session);
    this.before = await readTraces(this.client);
    screen.line(
      `PostgreSQL ${version} at ${address.host}:${address.port}, ${rows.toLocaleString("en")} rows in six tables`,
    );
    for (const table of [...tpchTables, extraTable]) {
      const path = this.lake.taken(table);
      if (path !== null) throw new Error(`${path} exists already: choose another folder for --lake`);
    }
  }

  private async preview(): Promise<void> {
    this.screen.step("preview: what would happen");
    const { kind } = await openDemoStack(this.session, this.session.tables, () => {});
    this.screen.line(
      kind === "cli"
        ? "deployed by pulumi, which is on PATH"
        : "deployed by the project's small test engine: pulumi isn't on PATH",
    );
    const result = await operate(this.session, "preview", this.screen);
    const changes = changesOf(result.steps);
    if (changes.length !== 5) throw new Error(`preview doesn't plan five resources but: ${changes.join(", ")}`);
  }

  private async up(): Promise<void> {
    this.screen.step("up, while a workload changes the tables");
    this.workload = await startWorkload(connectionOf(this.session), { seed: 1 });
    const { outputs } = await operate(this.session, "up", this.screen);
    const path = (name: string) => {
      if (typeof outputs[name] !== "string") throw new Error(`the stack has no output ${name}`);
      return outputs[name] as string;
    };
    this.paths = { gatewayStatusPath: path("gatewayStatusPath"), applierStatusPath: path("applierStatusPath") };
    this.screen.line(`slot ${path("slotName")}, publication ${path("publicationName")}`);
  }

  /** The workload goes on until every table streams and a little longer; then all of it must arrive. */
  private async follow(tables: string[]): Promise<void> {
    const { screen } = this;
    const workload = this.workload as Workload;
    screen.step("tables are copied and followed");
    const onLook = (status: StackStatus) => {
      const view = { ...status, workload: workload.counts() };
      screen.block(progressLines(view), progressSummary(view));
    };
    const timeoutMs = 60_000 * (1 + this.command.scale) + (this.tools === null ? 0 : sparkMs);
    const options = { timeoutMs, onLook, signal: this.signal };
    await awaitStack("every table streams", this.paths, (status) => isStreaming(status, tables), options);
    const untilMs = Date.now() + streamingMs;
    await awaitStack("the workload has run", this.paths, () => Date.now() >= untilMs, options);
    const counts = await workload.stop();
    const { lsn, status } = await awaitCaughtUp(this.client as Client, this.paths, tables, options);
    this.status = status;
    onLook(status);
    screen.endBlock();
    const { transactions, inserts, updates, keyChanges, deletes, rollbacks, savepointRollbacks } = counts;
    screen.line();
    screen.line(
      `the workload made ${transactions} transactions: ${inserts} inserts, ${updates} updates (${keyChanges} of keys), ` +
        `${deletes} deletes; ${rollbacks} rolled back, ${savepointRollbacks} savepoints rolled back`,
    );
    screen.line(`caught up at ${lsn}`);
    screen.line();
    for (const line of runTable(status.applier?.tables ?? [])) screen.line(line);
  }

  private async prove(tables: string[]): Promise<void> {
    this.screen.step("every value of every row is compared");
    this.proofs = await proveEqual(this.client as Client, this.lake as DemoLake, tables, this.screen);
    const wrong = [...this.proofs.values()].filter(({ equal }) => !equal);
    if (wrong.length > 0) throw new Error(`not equal: ${wrong.map(({ table }) => table).join(", ")}`);
  }

  private async addTable(): Promise<void> {
    const { screen } = this;
    screen.step(`the stack changes: the table ${extraTable} is added`);
    const before = this.status.gateway;
    this.workload = await startWorkload(connectionOf(this.session), { seed: 2 });
    const tables = [...tpchTables, extraTable];
    this.session = { ...this.session, tables };
    writeSession(this.session, (this.source as DemoSource).password);
    const changes = changesOf((await operate(this.session, "up", screen)).steps);
    if (changes.join() !== "Publication update") throw new Error(`a table was added by: ${changes.join(", ")}`);
    await this.follow(tables);
    const after = this.status.gateway;
    const restarted = before?.pid !== after?.pid || before?.startedAt !== after?.startedAt;
    const again = after?.tables.filter(({ snapshots }) => snapshots !== 1) ?? [];
    if (restarted) throw new Error(`the gateway was restarted: process ${before?.pid} became ${after?.pid}`);
    if (again.length > 0) throw new Error(`read more than once: ${again.map(({ name }) => name).join(", ")}`);
    screen.line();
    screen.line(`the gateway is the same process (${after?.pid}); each table was read once:`);
    screen.line((after?.tables ?? []).map(({ name, snapshots }) => `${name} ${snapshots}`).join(", "));
    await this.prove(tables);
  }

  private async refresh(): Promise<void> {
    this.screen.step("refresh: has anybody changed anything?");
    const changes = changesOf((await operate(this.session, "refresh", this.screen)).steps);
    if (changes.length > 0) throw new Error(`refresh found drift: ${changes.join(", ")}`);
    this.screen.line("no drift");
  }

  private async destroy(): Promise<void> {
    const { screen } = this;
    screen.step("destroy: nothing of it remains but the tables");
    await operate(this.session, "destroy", screen);
    const after = await readTraces(this.client as Client);
    const processes = processesOf(stateDir(this.session));
    this.left = { slots: after.slots, publications: after.publications, processes: processes.length };
    screen.line(`slots ${after.slots}, publications ${after.publications}, processes ${processes.length}`);
    const problems = await this.leftContainers();
    problems.push(
      ...(after.slots + after.publications > 0 ? ["a slot or publication is left"] : []),
      ...(processes.length > 0 ? [`processes are left: ${processes.join("; ")}`] : []),
      ...(JSON.stringify(after.identities) === JSON.stringify(this.before.identities)
        ? []
        : [`replica identities are ${JSON.stringify(after.identities)}`]),
    );
    for (const [table, { rows }] of this.proofs) {
      const rowCount = await (await (this.lake as DemoLake).open(table)).countRows();
      if (rowCount !== rows) problems.push(`${table} has ${rowCount} rows, and had ${rows}`);
    }
    problems.push(...(this.lake as DemoLake).leftovers().map((left) => `${left} is left`));
    if (problems.length > 0) throw new Error(`destroyed, but: ${problems.join("; ")}`);
    screen.line(`replica identities as before; all ${this.proofs.size} Delta tables kept`);
  }

  private async leftContainers(): Promise<string[]> {
    if (this.command.target !== "docker") return [];
    const containers = await containersOf(stateDir(this.session));
    if (containers === null) return ["no container engine answers any more"];
    this.left.containers = containers.length;
    this.screen.line(`containers ${containers.length}`);
    return containers.length === 0 ? [] : [`containers are left: ${containers.map(({ Names }) => Names).join(", ")}`];
  }

  private async keep(): Promise<void> {
    this.screen.step("everything is left running");
    const { slots, publications } = await readTraces(this.client as Client);
    this.left = { slots, publications, processes: processesOf(stateDir(this.session)).length };
    for (const line of keptInstructions(this.session, this.paths, this.status)) this.screen.line(line);
  }

  result(): DemoResult {
    const applied = (name: string) => this.status.applier?.tables.find((table) => table.name === name);
    const tables = this.session?.tables ?? [...tpchTables];
    return {
      tables: tables.map((name) => ({
        name,
        rows: this.proofs.get(name)?.rows ?? 0,
        upserted: applied(name)?.upserted ?? 0,
        deleted: applied(name)?.deleted ?? 0,
        equal: this.proofs.get(name)?.equal ?? false,
      })),
      ...this.left,
      ...this.lake?.counts(),
      seconds: Math.round((Date.now() - this.startedMs) / 100) / 10,
    };
  }

  /** Of the processes, to tell why something failed. */
  async lastLogLines(): Promise<string[]> {
    const folder = stateDir({ folder: this.folder });
    return [...logLines(folder, 15), ...(await containerLogLines(folder, 15))];
  }

  /** Ends everything and removes the demo's folder; the Delta tables too, unless they have a folder of their own. */
  async cleanUp(): Promise<void> {
    await this.workload?.stop().catch(() => {});
    await endProcesses(stateDir({ folder: this.folder }));
    if (this.command.target === "docker") await endContainers(stateDir({ folder: this.folder }));
    await this.client?.end().catch(() => {});
    await this.source?.stop();
    await this.lake?.close();
    rmSync(this.folder, { recursive: true, force: true });
  }

  /** What is kept goes on without this process. */
  async leave(): Promise<void> {
    await this.client?.end();
  }
}
