import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import type { Client } from "pg";
import { setDdlCapture } from "../../provider/postgres/ddl-capture-statements";
import type { RuntimeConfigInput } from "../../runtime/config";
import { parseLsn } from "../../runtime/postgres/lsn";
import { openFolderStore } from "../../runtime/staging/folder-store";
import { readStagedLabels, requestResync } from "../../runtime/staging/resync-request";
import type { ApplierStatus, GatewayStatus } from "../../runtime/status";
import { until } from "../support/conditions";
import { openDelta } from "../support/delta-reader";
import { compareTable, describeDifference } from "../support/equality";
import type { TestPostgres } from "../support/postgres-server";
import { Random } from "../support/random";
import { RuntimeProcess } from "../support/runtime-process";
import { startTcpProxy, type TcpProxy } from "../support/tcp-proxy";
import { loadTpch, tpchTables } from "../support/tpch";
import { startWorkload } from "../support/workload";
import { describeFault, type Fault, needsLostSlot, type Role, roleOf } from "./fault";
import { createOddTables, oddTables, runOddTransactions, touchTables } from "./odd-tables";

export interface RoundOptions {
  seed: number;
  faults: readonly Fault[];
  /** of the TPC-H tables */
  scale: number;
  progress(line: string): void;
}

export interface RoundResult {
  /** rows of the source that the destination lacks, and rows of the destination that the source lacks */
  lost: number;
  doubled: number;
  rows: number;
  /** faults whose place was never reached */
  unreached: string[];
  /** what isn't as it should be, in words */
  problems: string[];
  /** commits of a writer of the same tables, where there is one */
  rivalCommits?: number;
}

const tables = [...tpchTables, ...oddTables];
const publication = "faults";

/** One database, one gateway, one applier, one workload: faults one after the other, then the proof. */
export class FaultRound {
  private readonly unreached: string[] = [];
  private readonly problems: string[] = [];
  private readonly stopping = new AbortController();
  private readonly processes: Record<Role, RuntimeProcess<GatewayStatus> | RuntimeProcess<ApplierStatus>>;
  private keys = 2_000_000_000;
  private readonly arrays: "text" | "nested";

  private constructor(
    private readonly options: RoundOptions,
    private readonly postgres: TestPostgres,
    private readonly database: string,
    private readonly folder: string,
    private readonly proxy: TcpProxy,
    private client: Client,
  ) {
    // Half of the announced rounds, and half of the others, have arrays as lists.
    this.arrays = options.seed % 4 < 2 ? "nested" : "text";
    const common = { version: 1 as const, id: database, stagingPath: join(folder, "staging") };
    const gateway: RuntimeConfigInput = {
      ...common,
      role: "gateway",
      source: { ...postgres.source(database), host: "127.0.0.1", port: proxy.port },
      publication,
      slot: database,
      statusPath: join(folder, "gateway-status.json"),
      batch: { ageMsMax: 50, rowsMax: 700, bytesMax: 256 * 1024 },
      pollMs: 200,
      types: { arrays: this.arrays },
      onSlotLost: "resnapshot",
    };
    const applier: RuntimeConfigInput = {
      ...common,
      role: "applier",
      statusPath: join(folder, "applier-status.json"),
      destination: { kind: "local", path: join(folder, "lake") },
      trigger: { kind: "continuous", intervalMs: 50 },
      onRemove: "drop",
      // At every chance, and without a retention.
      maintenance: { filesMin: 2, deletedShareMin: 0.05, fileRetentionMs: 0, stagingRetentionMs: 0 },
    };
    this.processes = {
      gateway: new RuntimeProcess<GatewayStatus>(folder, gateway),
      applier: new RuntimeProcess<ApplierStatus>(folder, applier),
    };
  }

  static async run(postgres: TestPostgres, options: RoundOptions): Promise<RoundResult> {
    const database = `faults_${options.seed}`;
    const admin = await postgres.client();
    await admin.query(`CREATE DATABASE ${database}`);
    await admin.query(`ALTER DATABASE ${database} SET TimeZone = 'UTC'`);
    await admin.end();
    const client = await postgres.client(database);
    await loadTpch(client, options.scale);
    await createOddTables(client);
    await client.query(`CREATE PUBLICATION ${publication} FOR TABLE ${tables.join(", ")}`);
    // Half of the rounds follow schema changes by announcement, the others by what the stream shows.
    if (options.seed % 2 === 1) await setDdlCapture(client, publication, "faults", true);
    await client.query("SELECT pg_create_logical_replication_slot($1, 'pgoutput')", [database]);
    const folder = mkdtempSync(join(tmpdir(), "sluice-faults-"));
    mkdirSync(folder, { recursive: true });
    const proxy = await startTcpProxy(postgres);
    const round = new FaultRound(options, postgres, database, folder, proxy, client);
    try {
      return await round.run();
    } finally {
      await round.end();
    }
  }

  private async run(): Promise<RoundResult> {
    const random = new Random(this.options.seed);
    for (const role of ["gateway", "applier"] as const) this.start(role);
    const load = this.keepLoad().catch((error: unknown) => {
      this.problems.push(`workload: ${error instanceof Error ? error.message : String(error)}`);
    });
    for (const [index, fault] of this.options.faults.entries()) {
      await pause(random.between(50, 800));
      this.options.progress(`fault ${index + 1}/${this.options.faults.length}: ${describeFault(fault)}`);
      await this.inject(fault);
    }
    this.stopping.abort();
    await load;
    return this.prove();
  }

  private start(role: Role, environment: Record<string, string> = {}): void {
    this.processes[role].start(environment);
  }

  /** A workload on all tables until the round's end; begun again where the server ended its sessions. */
  private async keepLoad(): Promise<void> {
    for (let begun = 0; !this.stopping.signal.aborted; begun++) {
      try {
        const { host, port, user, password } = this.postgres;
        const connection = { host, port, user, password, database: this.database };
        const workload = await startWorkload(connection, {
          seed: this.options.seed + begun,
          connections: 2,
          transactionsPerSecondMax: 60,
        });
        const odd = await this.postgres.client(this.database);
        const setting = { client: odd, random: new Random(this.options.seed + begun), newKey: () => this.keys++ };
        const stopped = new AbortController();
        this.stopping.signal.addEventListener("abort", () => stopped.abort(), { once: true });
        const running = runOddTransactions(setting, stopped.signal);
        await Promise.race([workload.done, running, aborted(this.stopping.signal)]);
        stopped.abort();
        await Promise.allSettled([workload.stop(), running]);
        await running;
        await odd.end().catch(() => {});
      } catch (error) {
        // pg's own errors of a lost connection have no code.
        const { code } = error as { code?: string };
        if (code !== undefined && !/^(57P|E|08)/.test(code)) throw error;
        await pause(100);
      }
    }
  }

  private async inject(fault: Fault): Promise<void> {
    switch (fault.kind) {
      case "kill":
        await this.restartProcess(fault.role, () => this.processes[fault.role].kill());
        return;
      case "stop":
        await this.restartProcess(fault.role, async () => {
          await this.awake(fault.role);
          const exit = await this.processes[fault.role].stop();
          if (exit.code !== 0) this.problems.push(`SIGTERM: the ${fault.role} ended with ${JSON.stringify(exit)}`);
        });
        return;
      case "failpoint": {
        const role = roleOf(fault.name);
        if (!this.processes[role].alive) this.noteExit(role);
        await this.processes[role].kill();
        if (needsLostSlot(fault.name)) await this.dropSlot();
        const isDrop = fault.name.endsWith("-drop");
        this.start(role, { SLUICE_FAILPOINT: `${fault.name}:${isDrop ? 1 : fault.pass}` });
        if (isDrop) await this.republish();
        const reached = await this.processes[role].exited(15_000).then(
          (exit) => exit.signal === "SIGKILL",
          () => false,
        );
        if (!reached) {
          this.unreached.push(describeFault(fault));
          await this.processes[role].kill();
        }
        this.start(role);
        return;
      }
      case "freeze": {
        const { pid } = this.processes[fault.role];
        process.kill(pid, "SIGSTOP");
        await pause(fault.ms);
        process.kill(pid, "SIGCONT");
        return;
      }
      case "terminate":
        await this.client.query(
          `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database()
             AND application_name LIKE 'sluice %' AND ($1 OR backend_type = 'walsender')`,
          [fault.sessions === "all"],
        );
        return;
      case "cut":
      case "stall":
        this.proxy[fault.kind]();
        await pause(fault.ms);
        this.proxy.restore();
        return;
      case "restart":
        await this.client.end().catch(() => {});
        await this.postgres.restart(fault.mode);
        this.client = await this.postgres.client(this.database);
        return;
      case "lose-slot":
        await this.dropSlot();
        return;
      case "republish":
        await this.republish();
        return;
      case "resync": {
        const store = await openFolderStore(join(this.folder, "staging"));
        const labels = await readStagedLabels(store);
        if (labels.length > 0) await requestResync(store, labels[fault.pick % labels.length]);
        return;
      }
      case "staging": {
        const preload = resolve(__dirname, "disturbed-staging.js");
        await this.processes.gateway.kill();
        this.start("gateway", {
          NODE_OPTIONS: `--require ${preload}`,
          SLUICE_DISTURBED_STAGING: `${fault.seed}:${fault.ms}`,
        });
        await pause(fault.ms + 300);
        return;
      }
    }
  }

  private async republish(): Promise<void> {
    await this.client.query(`ALTER PUBLICATION ${publication} DROP TABLE document`);
    await pause(400);
    await this.client.query(`ALTER PUBLICATION ${publication} ADD TABLE document`);
  }

  /** Node ends at once by a signal that comes before the program does. */
  private async awake(role: Role): Promise<void> {
    const process = this.processes[role];
    await until(`the ${role} has begun`, () => !process.alive || process.status()?.pid === process.pid);
  }

  /** The gateway may take it up again between the end of its session and the drop. */
  private async dropSlot(): Promise<void> {
    await until("the slot is dropped", async () => {
      await this.client.query(
        "SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE slot_name = $1 AND active",
        [this.database],
      );
      return this.client
        .query("SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = $1", [
          this.database,
        ])
        .then(
          () => true,
          (error: { code?: string }) => {
            if (error.code === "55006") return null;
            throw error;
          },
        );
    });
  }

  /** A process that ended by itself in the meantime is a problem; it runs again after this. */
  private async restartProcess(role: Role, end: () => Promise<unknown>): Promise<void> {
    if (!this.processes[role].alive) this.noteExit(role);
    await end();
    if (!this.processes[role].alive) this.start(role);
  }

  private noteExit(role: Role): void {
    const lines = this.processes[role].output.trim().split("\n").slice(-3).join("\n");
    this.problems.push(`the ${role} ended by itself:\n${lines}`);
  }

  private async prove(): Promise<RoundResult> {
    for (const role of ["gateway", "applier"] as const) {
      if (this.processes[role].alive) continue;
      this.noteExit(role);
      this.start(role);
    }
    let [lost, doubled, rows] = [0, 0, 0];
    try {
      await this.catchUp();
      // Without a retention its maintenance removes what a reader of a moment ago still needs.
      await this.processes.applier.stop();
      for (const name of tables) {
        const table = { schema: "public", name };
        const equality = await compareTable(
          this.client,
          table,
          await openDelta(join(this.folder, "lake", "public", name)),
          this.arrays,
        );
        lost += equality.sourceOnly;
        doubled += equality.destinationOnly;
        rows += equality.rows;
        this.problems.push(...equality.differences.slice(0, 5).map((one) => shortened(describeDifference(one))));
      }
    } catch (error) {
      this.problems.push((error as Error).message);
    }
    return { lost, doubled, rows, unreached: this.unreached, problems: this.problems };
  }

  /** Until the applier has what the source has now. */
  private async catchUp(): Promise<void> {
    await touchTables(this.client, () => this.keys++);
    const { rows } = await this.client.query<{ lsn: string }>("SELECT pg_current_wal_flush_lsn()::text AS lsn");
    const target = parseLsn(rows[0].lsn);
    const gateway = this.processes.gateway as RuntimeProcess<GatewayStatus>;
    const applier = this.processes.applier as RuntimeProcess<ApplierStatus>;
    const names = (found: { name: string }[]) => new Set(found.map((table) => table.name));
    await gateway.untilStatus(
      "everything is staged",
      (status) =>
        tables.every((name) => names(status.tables).has(name)) &&
        status.tables.every((table) => table.state.kind === "streaming") &&
        parseLsn(status.acknowledgedLsn) >= target,
      120_000,
    );
    await applier.untilStatus(
      "everything is applied",
      (status) =>
        parseLsn(status.appliedLsn) >= target && status.appliedSequence >= (gateway.status()?.stagedSequence ?? 0),
      120_000,
    );
  }

  private async end(): Promise<void> {
    this.stopping.abort();
    for (const role of ["gateway", "applier"] as const) await this.processes[role].kill();
    await this.proxy.close();
    await this.client.end().catch(() => {});
    const admin = await this.postgres.client();
    try {
      await admin.query("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1", [this.database]);
      await until("the slot is dropped", async () => {
        const { rows } = await admin.query<{ active: boolean }>(
          "SELECT active FROM pg_replication_slots WHERE slot_name = $1",
          [this.database],
        );
        if (rows.length === 0) return true;
        if (!rows[0].active) await admin.query("SELECT pg_drop_replication_slot($1)", [this.database]);
        return null;
      });
      await admin.query(`DROP DATABASE ${this.database} WITH (FORCE)`);
    } finally {
      await admin.end();
    }
    if (this.problems.length === 0) rmSync(this.folder, { recursive: true, force: true });
    else this.options.progress(`kept for a look: ${this.folder}`);
  }
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((done) => {
    if (signal.aborted) done();
    else signal.addEventListener("abort", () => done(), { once: true });
  });
}

const shortened = (line: string) => (line.length > 400 ? `${line.slice(0, 300)} … ${line.slice(-100)}` : line);
