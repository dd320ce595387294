import { spawnSync } from "node:child_process";
import { cpSync, mkdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import type { Client } from "pg";
import { parseLsn } from "../../runtime/postgres/lsn";
import { until } from "../support/conditions";
import { startPostgres, type TestPostgres } from "../support/postgres-server";
import type { BenchOptions } from "./bench-options";
import { debianTool } from "./debian-tools";
import { type Figure, figure, timing } from "./figures";
import { type GatewayChanges, gatewayFor, runUntilStaged } from "./gateway-run";

const changesPerTransaction = 100;

/** What is carried, and how. */
export interface ChangesBench {
  bench: "stream" | "transaction" | "files";
  changes: number;
  runs: number;
  /** makes the changes; the table is `event` */
  make(client: Client): Promise<unknown>;
  /** names of our runs, the first of which is compared with the peer, and what is set in each */
  variants: {
    name: string;
    config: GatewayChanges;
    /** where else than in `<folder>/staging` a copy of `from` is gone on with; that must lead there too */
    stage?: (from: string, folder: string) => { config: GatewayChanges; measure: () => void };
  }[];
  /** variables of the gateway */
  environment?: Record<string, string>;
  receiverOptions: string[];
}

/**
 * Changes from a slot into staging, against pg_recvlogical writing the same slot's changes to nowhere. Every run reads
 * a copy of one slot, made before the changes were.
 */
export function benchStream(options: BenchOptions): Promise<Figure> {
  return benchChanges(options, {
    ...smallTransactions(options),
    bench: "stream",
    variants: [{ name: "ours", config: {} }],
  });
}

/** Of 100 changes each: new rows, of which some are updated and some deleted. */
export function smallTransactions(options: BenchOptions): Omit<ChangesBench, "bench" | "variants"> {
  const changes = options.rows ?? (options.quick ? 200_000 : 1_000_000);
  return {
    changes,
    runs: options.runs,
    async make(client) {
      await client.query(`
        CREATE PROCEDURE make_changes(transactions int) LANGUAGE plpgsql AS $$
        BEGIN
          FOR t IN 0 .. transactions - 1 LOOP
            INSERT INTO event SELECT t * 80 + n, 'event ' || n, n * 1.25, now() FROM generate_series(0, 79) n;
            UPDATE event SET amount = amount + 1 WHERE id BETWEEN t * 80 AND t * 80 + 14;
            DELETE FROM event WHERE id BETWEEN t * 80 AND t * 80 + 4;
            COMMIT;
          END LOOP;
        END $$`);
      await client.query("CALL make_changes($1)", [Math.ceil(changes / changesPerTransaction)]);
    },
    receiverOptions: ["proto_version=1"],
  };
}

/** One transaction, read before its end as the server decodes it, and (`atCommit`) at its commit. */
export function benchTransaction(options: BenchOptions): Promise<Figure> {
  const changes = options.rows ?? (options.quick ? 500_000 : 10_000_000);
  return benchChanges(options, {
    bench: "transaction",
    changes,
    runs: options.quick ? 1 : Math.min(options.runs, 2),
    make: (client) =>
      client.query("INSERT INTO event SELECT n, 'event ' || n, n * 1.25, now() FROM generate_series(1, $1::int) n", [
        changes,
      ]),
    variants: [
      { name: "early", config: {} },
      { name: "atCommit", config: { spool: { largeTransactions: "commit" } } },
    ],
    receiverOptions: ["proto_version=2", "streaming=on"],
  });
}

export async function benchChanges(options: BenchOptions, bench: ChangesBench): Promise<Figure> {
  const receiver = debianTool("pg_recvlogical");
  const postgres = await startPostgres({ settings: { max_wal_size: "16GB" } });
  const client = await postgres.client();
  const ours = bench.variants.map(({ name }) => ({
    name,
    seconds: [] as number[],
    peakMemoryBytes: [] as number[],
  }));
  const peer: number[] = [];
  try {
    await client.query("CREATE TABLE event (id bigint PRIMARY KEY, name text, amount numeric(12,2), at timestamptz)");
    await client.query("CREATE PUBLICATION bench FOR TABLE event");
    await client.query("SELECT pg_create_logical_replication_slot('base', 'pgoutput')");
    const base = gatewayFor(postgres, join(options.folder, "base"), "base");
    await runUntilStaged(base, ({ events }) => events.some(({ kind }) => kind === "snapshot-end"), options.timeoutMs);
    options.progress(`${bench.changes.toLocaleString("en")} changes …`);
    await bench.make(client);
    const { rows } = await client.query<{ lsn: string }>("SELECT pg_current_wal_flush_lsn()::text AS lsn");
    const endLsn = rows[0].lsn;
    // One more transaction, so that both see something at or behind the end.
    await client.query("INSERT INTO event VALUES (-1)");
    const copy = async (name: string) => {
      await client.query("SELECT pg_copy_logical_replication_slot('base', $1)", [name]);
      return name;
    };
    for (let run = 0; run < bench.runs; run++) {
      for (const [index, { name, config, stage }] of bench.variants.entries()) {
        options.progress(`${name} ${run + 1}/${bench.runs}`);
        const folder = join(options.folder, `run_${run}_${index}`);
        mkdirSync(folder);
        const from = join(options.folder, "base", "staging");
        const staged = stage?.(from, folder);
        if (staged === undefined) cpSync(from, join(folder, "staging"), { recursive: true });
        const slot = await copy(`ours_${run}_${index}`);
        const gateway = gatewayFor(postgres, folder, slot, { ...config, ...staged?.config }, bench.environment);
        const target = parseLsn(endLsn);
        const result = await runUntilStaged(gateway, (record) => parseLsn(record.endLsn) >= target, options.timeoutMs);
        staged?.measure();
        ours[index].seconds.push(result.seconds);
        ours[index].peakMemoryBytes.push(result.peakMemoryBytes);
        await dropSlot(client, slot);
        rmSync(folder, { recursive: true, force: true });
      }
      if ("skipped" in receiver) continue;
      options.progress(`pg_recvlogical ${run + 1}/${bench.runs}`);
      peer.push(receive(receiver.path, postgres, await copy(`peer_${run}`), endLsn, bench.receiverOptions));
      await dropSlot(client, `peer_${run}`);
    }
  } finally {
    await client.end();
    await postgres.stop();
  }
  const [first, ...others] = ours;
  const details = Object.fromEntries(
    others.map(({ name, seconds, peakMemoryBytes }) => [
      name,
      { ...timing(seconds), peakMemoryMb: Math.round(Math.max(...peakMemoryBytes) / 1e6) },
    ]),
  );
  const theirs = "path" in receiver ? { name: "pg_recvlogical", seconds: peer } : receiver;
  return figure(bench.bench, bench.changes, first, theirs, details);
}

function receive(path: string, postgres: TestPostgres, slot: string, endLsn: string, options: string[]): number {
  const startedAt = process.hrtime.bigint();
  const { status, stderr } = spawnSync(
    path,
    [
      "-h",
      postgres.host,
      "-p",
      String(postgres.port),
      "-U",
      postgres.user,
      "-d",
      "postgres",
      "--slot",
      slot,
      "--start",
      "--no-loop",
      "--endpos",
      endLsn,
      "-f",
      "/dev/null",
      ...[...options, "publication_names=bench"].flatMap((option) => ["-o", option]),
    ],
    { stdio: ["ignore", "ignore", "pipe"], env: { ...process.env, PGPASSWORD: postgres.password }, timeout: 600_000 },
  );
  if (status !== 0) throw new Error(`pg_recvlogical: ${stderr?.toString()}`);
  return Number(process.hrtime.bigint() - startedAt) / 1e9;
}

/** A walsender that is decoding a large transaction notices late that its client is gone. */
async function dropSlot(client: Client, slot: string): Promise<void> {
  await until(
    `${slot} is free`,
    async () => {
      const { rows } = await client.query("SELECT FROM pg_replication_slots WHERE slot_name = $1 AND active", [slot]);
      return rows.length === 0 ? true : null;
    },
    120_000,
  );
  await client.query("SELECT pg_drop_replication_slot($1)", [slot]);
}
