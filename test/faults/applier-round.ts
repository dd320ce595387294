import { type ChildProcess, spawn } from "node:child_process";
import { linkSync, mkdirSync, readdirSync, rmSync } from "node:fs";
import { join, resolve } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { maintenanceSchema } from "../../runtime/config";
import type { ApplierStatus } from "../../runtime/status";
import { StagedLog } from "../runtime/applier/staged-log";
import { Random } from "../support/random";
import { RuntimeProcess } from "../support/runtime-process";
import { type ApplierFault, chooseApplierFault, describeApplierFault } from "./applier-fault";
import { ApplierTables } from "./applier-tables";
import type { RoundResult } from "./fault-round";

const reachMs = 15_000;
const finishMs = 120_000;

export interface ApplierRoundOptions {
  seed: number;
  faults: number;
  progress(line: string): void;
}

export interface ApplierRoundResult extends RoundResult {
  kills: number;
  rivalCommits: number;
}

/** One staging log, one applier, in two rounds of three beside a rival writer: faults one after the other, then the proof. */
export class ApplierRound {
  private readonly random: Random;
  private readonly tables: ApplierTables;
  private readonly mirror: string;
  private readonly applier: RuntimeProcess<ApplierStatus>;
  private readonly hasRival: boolean;
  private rival: ChildProcess | null = null;
  private readonly unreached: string[] = [];
  private readonly problems: string[] = [];
  private kills = 0;
  private rivalCommits = 0;

  private constructor(
    private readonly options: ApplierRoundOptions,
    private readonly log: StagedLog,
  ) {
    this.random = new Random(options.seed);
    this.hasRival = options.seed % 3 !== 0;
    this.tables = new ApplierTables(log, this.random);
    this.mirror = join(log.folder, "mirror");
    const maintenance = maintenanceSchema.parse({
      timeShareMax: 1,
      filesMin: 2,
      deletedShareMin: 0.05,
      clusterByKey: options.seed % 2 === 0,
      // Two that delete at once what they don't know would take each other's new files for needless.
      fileRetentionMs: this.hasRival ? 3_600_000 : 0,
      stagingRetentionMs: 500,
    });
    const config = log.config({ maintenance, tables: this.tables.options });
    this.applier = new RuntimeProcess<ApplierStatus>(log.folder, {
      ...config,
      trigger: { kind: "continuous", intervalMs: 40 },
    });
  }

  static async run(options: ApplierRoundOptions): Promise<ApplierRoundResult> {
    const round = new ApplierRound(options, await StagedLog.open());
    try {
      return await round.run();
    } finally {
      await round.end();
    }
  }

  private async run(): Promise<ApplierRoundResult> {
    await this.tables.start();
    this.copyStaged();
    this.applier.start();
    this.startRival();
    for (let index = 0; index < this.options.faults; index++) {
      const fault = chooseApplierFault(this.random, this.hasRival);
      this.options.progress(`fault ${index + 1}/${this.options.faults}: ${describeApplierFault(fault)}`);
      if (!this.applier.alive) this.noteExit();
      await this.inject(fault);
    }
    const { lost, doubled, rows } = await this.prove();
    const { unreached, problems, kills, rivalCommits } = this;
    return { lost, doubled, rows, unreached, problems, kills, rivalCommits };
  }

  private async inject(fault: ApplierFault): Promise<void> {
    switch (fault.kind) {
      case "kill":
        await this.during(fault.afterMs, () => this.kill());
        break;
      case "failpoint": {
        await this.kill();
        this.applier.start({ SLUICE_FAILPOINT: `${fault.name}:${fault.pass}` });
        const endMs = Date.now() + reachMs;
        while (this.applier.alive && Date.now() < endMs) {
          // A table that comes back at once is never dropped.
          if (fault.name.endsWith("-drop")) await this.leaveOrReturn();
          else await this.work();
          await pause(200);
        }
        if (this.applier.alive) {
          this.unreached.push(describeApplierFault(fault));
          await this.kill();
        } else if ((await this.applier.exited()).signal === "SIGKILL") this.kills++;
        else this.noteExit();
        break;
      }
      case "stop": {
        await this.applier.untilStatus("it runs", ({ state }) => state.kind === "running");
        await this.during(fault.afterMs, async () => {
          const exit = await this.applier.stop();
          if (exit.code !== 0) this.problems.push(`SIGTERM: it ended with ${JSON.stringify(exit)}`);
        });
        break;
      }
      case "freeze":
        await this.during(0, async () => {
          const { pid } = this.applier;
          process.kill(pid, "SIGSTOP");
          await pause(fault.ms);
          process.kill(pid, "SIGCONT");
        });
        return;
      case "kill-rival":
        await this.during(this.random.between(0, 200), async () => {
          this.rival?.kill("SIGKILL");
        });
        this.startRival();
        return;
      case "disturbed": {
        await this.kill();
        const preload = resolve(__dirname, `disturbed-${fault.what}.js`);
        this.applier.start({
          NODE_OPTIONS: `--require ${preload}`,
          [`SLUICE_DISTURBED_${fault.what.toUpperCase()}`]: `${fault.seed}:${fault.ms}`,
        });
        await this.during(fault.ms, () => (this.applier.alive ? this.kill() : Promise.resolve()));
        break;
      }
    }
    if (!this.applier.alive) this.applier.start();
  }

  /** Something happens so long after changes begin to be staged. */
  private async during(ms: number, happen: () => Promise<void>): Promise<void> {
    await Promise.all([this.work(), pause(ms).then(happen)]);
  }

  private async kill(): Promise<void> {
    if (!this.applier.alive) return this.noteExit();
    const { signal } = await this.applier.kill();
    if (signal === "SIGKILL") this.kills++;
  }

  private async work(): Promise<void> {
    await this.tables.work();
    this.copyStaged();
  }

  private async leaveOrReturn(): Promise<void> {
    await this.tables.leaveOrReturn();
    this.copyStaged();
    const { head } = this.log;
    const endMs = Date.now() + reachMs;
    while (this.applier.alive && (this.applier.status()?.appliedSequence ?? 0) < head && Date.now() < endMs)
      await pause(50);
  }

  /** What is staged is purged in time; the proof needs it. */
  private copyStaged(): void {
    for (const kind of ["log", "data", "schema"]) {
      const from = join(this.log.folder, "staging", kind);
      const to = join(this.mirror, kind);
      mkdirSync(to, { recursive: true });
      const known = new Set(readdirSync(to));
      for (const entry of readdirSync(from, { withFileTypes: true })) {
        if (entry.isFile() && !known.has(entry.name)) linkSync(join(from, entry.name), join(to, entry.name));
      }
    }
  }

  private startRival(): void {
    if (!this.hasRival) return;
    const path = resolve(__dirname, "rival-writer.js");
    const { destination, folder } = this.log;
    const given = [path, destination, folder, String(this.random.between(1, 1e9)), ...ApplierTables.shared];
    this.rival = spawn(process.execPath, given, { stdio: ["ignore", "pipe", "inherit"] });
    this.rival.stdout?.on("data", (chunk: Buffer) => {
      this.rivalCommits += chunk.toString().trim().split("\n").length;
    });
  }

  private noteExit(): void {
    const lines = this.applier.output.trim().split("\n").slice(-3).join("\n");
    this.problems.push(`the applier ended by itself:\n${lines}`);
  }

  private async prove(): Promise<{ lost: number; doubled: number; rows: number }> {
    const total = { lost: 0, doubled: 0, rows: 0 };
    try {
      if (!this.applier.alive) this.applier.start();
      const caughtUp = ({ appliedSequence, tables }: ApplierStatus) =>
        appliedSequence === this.log.head && tables.every(({ state }) => ["idle", "removed"].includes(state.kind));
      await this.applier.untilStatus("all is applied", caughtUp, finishMs);
      await this.applier.stop();
      this.rival?.kill("SIGKILL");
      for (const { name, expected, found } of await this.tables.compare(this.log.destination, this.mirror)) {
        const [lost, doubled] = [without(expected, found), without(found, expected)];
        total.rows += expected.length;
        total.lost += lost.length;
        total.doubled += doubled.length;
        for (const row of lost.slice(0, 3)) this.problems.push(`${name} lacks ${row}`);
        for (const row of doubled.slice(0, 3)) this.problems.push(`${name} has ${row} too often`);
      }
    } catch (error) {
      this.problems.push((error as Error).message);
    }
    if (this.hasRival && this.rivalCommits === 0) this.problems.push("the rival has committed nothing");
    return total;
  }

  private async end(): Promise<void> {
    this.rival?.kill("SIGKILL");
    await this.applier.kill();
    if (this.problems.length === 0) this.log.close();
    else this.options.progress(`kept for a look: ${this.log.folder}`);
    if (this.problems.length === 0) rmSync(this.log.folder, { recursive: true, force: true });
  }
}

/** Of a multiset of texts what another one doesn't have. */
function without(texts: string[], others: string[]): string[] {
  const counts = new Map<string, number>();
  for (const text of others) counts.set(text, (counts.get(text) ?? 0) + 1);
  return texts.filter((text) => {
    const count = counts.get(text) ?? 0;
    counts.set(text, count - 1);
    return count <= 0;
  });
}
