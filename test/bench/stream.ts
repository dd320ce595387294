import { spawnSync } from "node:child_process";
import { cpSync, mkdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { parseLsn } from "../../runtime/postgres/lsn";
import { startPostgres, type TestPostgres } from "../support/postgres-server";
import type { BenchOptions } from "./bench-options";
import { debianTool } from "./debian-tools";
import { type Figure, figure } from "./figures";
import { gatewayFor, runUntilStaged } from "./gateway-run";

const changesPerTransaction = 100;

/**
 * Changes from a slot into staging, against pg_recvlogical writing the same slot's changes to nowhere. Every run reads
 * a copy of one slot, made before the changes were.
 */
export async function benchStream(options: BenchOptions): Promise<Figure> {
  const changes = options.rows ?? (options.quick ? 200_000 : 1_000_000);
  const receiver = debianTool("pg_recvlogical");
  const postgres = await startPostgres();
  const client = await postgres.client();
  const ours = { seconds: [] as number[], peakMemoryBytes: [] as number[] };
  const peer: number[] = [];
  try {
    await client.query("CREATE TABLE event (id bigint PRIMARY KEY, name text, amount numeric(12,2), at timestamptz)");
    await client.query("CREATE PUBLICATION bench FOR TABLE event");
    await client.query("SELECT pg_create_logical_replication_slot('base', 'pgoutput')");
    const base = gatewayFor(postgres, join(options.folder, "base"), "base");
    await runUntilStaged(base, ({ events }) => events.some(({ kind }) => kind === "snapshot-end"), options.timeoutMs);
    options.progress(`${changes.toLocaleString("en")} changes …`);
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
    const { rows } = await client.query<{ lsn: string }>("SELECT pg_current_wal_flush_lsn()::text AS lsn");
    const endLsn = rows[0].lsn;
    // One more transaction, so that both see something at or behind the end.
    await client.query("INSERT INTO event VALUES (-1)");
    for (let run = 0; run < options.runs; run++) {
      options.progress(`stream ${run + 1}/${options.runs}`);
      const copy = async (name: string) => {
        await client.query("SELECT pg_copy_logical_replication_slot('base', $1)", [name]);
        return name;
      };
      const folder = join(options.folder, `run_${run}`);
      mkdirSync(folder);
      cpSync(join(options.folder, "base", "staging"), join(folder, "staging"), { recursive: true });
      const gateway = gatewayFor(postgres, folder, await copy(`ours_${run}`));
      const target = parseLsn(endLsn);
      const result = await runUntilStaged(gateway, (record) => parseLsn(record.endLsn) >= target, options.timeoutMs);
      ours.seconds.push(result.seconds);
      ours.peakMemoryBytes.push(result.peakMemoryBytes);
      await client.query("SELECT pg_drop_replication_slot($1)", [`ours_${run}`]);
      rmSync(folder, { recursive: true, force: true });
      if ("skipped" in receiver) continue;
      peer.push(receive(receiver.path, postgres, await copy(`peer_${run}`), endLsn));
      await client.query("SELECT pg_drop_replication_slot($1)", [`peer_${run}`]);
    }
  } finally {
    await client.end();
    await postgres.stop();
  }
  return figure("stream", changes, ours, "path" in receiver ? { name: "pg_recvlogical", seconds: peer } : receiver);
}

function receive(path: string, postgres: TestPostgres, slot: string, endLsn: string): number {
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
      "-o",
      "proto_version=1",
      "-o",
      "publication_names=bench",
    ],
    { stdio: ["ignore", "ignore", "pipe"], env: { ...process.env, PGPASSWORD: postgres.password }, timeout: 600_000 },
  );
  if (status !== 0) throw new Error(`pg_recvlogical: ${stderr?.toString()}`);
  return Number(process.hrtime.bigint() - startedAt) / 1e9;
}
