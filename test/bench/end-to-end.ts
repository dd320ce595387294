import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import type { Client } from "pg";
import { parseLsn } from "../../runtime/postgres/lsn";
import type { StagedCommit } from "../../runtime/staging/staged-commit";
import type { ApplierStatus } from "../../runtime/status";
import { until } from "../support/conditions";
import { startPostgres } from "../support/postgres-server";
import { RuntimeProcess } from "../support/runtime-process";
import type { BenchOptions } from "./bench-options";
import { type Figure, figure } from "./figures";
import { gatewayFor, peakMemory } from "./gateway-run";

const tickMs = 100;
const intervalMs = 1_000;

interface Pending {
  lsn: bigint;
  committedMs: number;
}

/** A steady load on a source with gateway and applier: how long from a commit until readers of the Delta table see it. */
export async function benchEndToEnd(options: BenchOptions): Promise<Figure> {
  const seconds = options.seconds ?? (options.quick ? 60 : 900);
  const rate = options.rate ?? 20_000;
  const rows = options.rows ?? (options.quick ? 200_000 : 2_000_000);
  const postgres = await startPostgres();
  const client = await postgres.client();
  const lake = join(options.folder, "lake");
  const stagingPath = join(options.folder, "staging");
  const gateway = gatewayFor(postgres, options.folder, "bench");
  const applier = new RuntimeProcess<ApplierStatus>(options.folder, {
    version: 1,
    role: "applier",
    id: "bench",
    statusPath: join(options.folder, "applier-status.json"),
    stagingPath,
    destination: { kind: "local", path: lake },
    trigger: { kind: "continuous", intervalMs },
  });
  try {
    options.progress(`${rows.toLocaleString("en")} rows …`);
    await client.query("CREATE TABLE event (id bigint PRIMARY KEY, name text, amount numeric(12,2), at timestamptz)");
    await client.query(
      "INSERT INTO event SELECT n, 'event ' || n, n * 1.25, now() FROM generate_series(0, $1::bigint - 1) n",
      [rows],
    );
    await client.query("CREATE PUBLICATION bench FOR TABLE event");
    await client.query("SELECT pg_create_logical_replication_slot('bench', 'pgoutput')");
    gateway.start();
    applier.start();
    await applier.untilStatus("the table is there", ({ tables }) => tables[0]?.rows === rows, options.timeoutMs);
    const readable = new ReadableCommits(join(lake, "public", "event"), stagingPath);
    const memory: { gateway: number; applier: number }[] = [];
    const watching = new AbortController();
    const watch = (async () => {
      for (let tick = 0; !watching.signal.aborted; tick++) {
        readable.look();
        if (tick % 50 === 0) memory.push({ gateway: residentBytes(gateway.pid), applier: residentBytes(applier.pid) });
        await pause(20);
      }
    })();
    const startedMs = Date.now();
    const changes = await load(client, { rate, seconds, rows, progress: options.progress }, readable.pending);
    const loadSeconds = (Date.now() - startedMs) / 1e3;
    await until("all is readable", () => readable.pending.length === 0 || null, 120_000);
    const carriedSeconds = (Date.now() - startedMs) / 1e3;
    watching.abort();
    await watch;
    const { latencies } = readable;
    latencies.sort((a, b) => a - b);
    const at = (part: number) => latencies[Math.min(latencies.length - 1, Math.floor(latencies.length * part))];
    const [table] = applier.status()?.tables ?? [];
    const { files, smallFiles, deletedShare, maintenance } = table;
    return figure(
      "endtoend",
      changes,
      { seconds: [carriedSeconds], peakMemoryBytes: [peakMemory(gateway.pid) + peakMemory(applier.pid)] },
      { skipped: "nothing else carries a change that far here" },
      {
        loadSeconds: Math.round(loadSeconds),
        changesPerSecond: Math.round(changes / loadSeconds),
        intervalMs,
        readableMs: { p50: at(0.5), p95: at(0.95), max: at(1) },
        memoryMb: {
          gateway: ofQuarters(memory.map((each) => each.gateway)),
          applier: ofQuarters(memory.map((each) => each.applier)),
        },
        table: { files, smallFiles, deletedShare },
        maintenance,
      },
    );
  } finally {
    await gateway.kill();
    await applier.kill();
    await client.end();
    await postgres.stop();
  }
}

/** One transaction every tick: updates of random rows, inserts, deletes of the oldest. */
async function load(
  client: Client,
  { rate, seconds, rows, progress }: { rate: number; seconds: number; rows: number; progress(line: string): void },
  pending: Pending[],
): Promise<number> {
  const perTick = Math.ceil((rate * tickMs) / 1000);
  const count = { inserts: Math.floor(perTick * 0.2), deletes: Math.floor(perTick * 0.2), updates: 0 };
  count.updates = perTick - count.inserts - count.deletes;
  let [first, next, changes] = [0, rows, 0];
  const startedMs = Date.now();
  for (let tick = 0; tick * tickMs < seconds * 1000; tick++) {
    const { rows: result } = await client.query<{ updated: number; lsn: string }>(
      `WITH inserted AS (
         INSERT INTO event SELECT n, 'event ' || n, n * 1.25, now() FROM generate_series($1::bigint, $1::bigint + $2 - 1) n),
       deleted AS (DELETE FROM event WHERE id >= $3 AND id < $3::bigint + $4),
       updated AS (
         UPDATE event SET amount = amount + 1, at = now()
         WHERE id IN (SELECT $3::bigint + $4 + floor(random() * ($1 - $3::bigint - $4))::bigint FROM generate_series(1, $5)) RETURNING 1)
       SELECT count(*)::int AS updated FROM updated`,
      [next, count.inserts, first, count.deletes, count.updates],
    );
    const committedMs = Date.now();
    const { rows: positions } = await client.query<{ lsn: string }>("SELECT pg_current_wal_insert_lsn()::text AS lsn");
    pending.push({ lsn: parseLsn(positions[0].lsn), committedMs });
    next += count.inserts;
    first += count.deletes;
    changes += count.inserts + count.deletes + result[0].updated;
    if ((tick + 1) % 300 === 0) progress(`${((tick + 1) * tickMs) / 1000} s, ${changes.toLocaleString("en")} changes`);
    await pause(Math.max(0, startedMs + (tick + 1) * tickMs - Date.now()));
  }
  return changes;
}

/** Which commits of the source readers of a Delta table see: by its log and the staged records that its txn names. */
class ReadableCommits {
  readonly pending: Pending[] = [];
  /** milliseconds */
  readonly latencies: number[] = [];
  private version = 0;

  constructor(
    private readonly tablePath: string,
    private readonly stagingPath: string,
  ) {}

  look(): void {
    for (;;) {
      const path = join(this.tablePath, "_delta_log", `${String(this.version).padStart(20, "0")}.json`);
      if (!existsSync(path)) return;
      const seenMs = Date.now();
      this.version++;
      const txn = readFileSync(path, "utf8")
        .split("\n")
        .filter((line) => line.startsWith('{"txn"'))
        .map((line) => (JSON.parse(line) as { txn: { version: number } }).txn)[0];
      if (txn === undefined) continue;
      const record = join(this.stagingPath, "log", `${String(txn.version).padStart(20, "0")}.json`);
      const endLsn = parseLsn((JSON.parse(readFileSync(record, "utf8")) as StagedCommit).endLsn);
      while (this.pending.length > 0 && this.pending[0].lsn <= endLsn) {
        this.latencies.push(seenMs - (this.pending.shift() as Pending).committedMs);
      }
    }
  }
}

function residentBytes(pid: number): number {
  try {
    return Number(readFileSync(`/proc/${pid}/statm`, "utf8").split(" ")[1]) * 4096;
  } catch {
    return 0;
  }
}

/** Mean of each quarter of the time, in MB: flat memory has four alike. */
function ofQuarters(samples: number[]): number[] {
  return [0, 1, 2, 3].map((quarter) => {
    const part = samples.slice((samples.length * quarter) / 4, (samples.length * (quarter + 1)) / 4);
    return Math.round(part.reduce((sum, bytes) => sum + bytes, 0) / Math.max(1, part.length) / 1e6);
  });
}
