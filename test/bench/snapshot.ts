import { spawnSync } from "node:child_process";
import { rmSync } from "node:fs";
import { join } from "node:path";
import { startPostgres } from "../support/postgres-server";
import type { BenchOptions } from "./bench-options";
import { debianTool } from "./debian-tools";
import { type Figure, figure } from "./figures";
import { gatewayFor, runUntilStaged } from "./gateway-run";

/** Seventeen columns like TPC-H's lineitem. */
const lineitem = (rows: number) => `
  CREATE TABLE lineitem AS
  SELECT n::bigint AS l_orderkey, (n % 200000)::int AS l_partkey, (n % 10000)::int AS l_suppkey, (n % 7)::int AS l_linenumber,
         (1 + n % 50)::numeric(15,2) AS l_quantity, (900 + n * 1.37)::numeric(15,2) AS l_extendedprice,
         (n % 11 / 100.0)::numeric(15,2) AS l_discount, (n % 9 / 100.0)::numeric(15,2) AS l_tax,
         substr('ANR', (n % 3)::int + 1, 1)::char(1) AS l_returnflag, substr('OF', (n % 2)::int + 1, 1)::char(1) AS l_linestatus,
         date '1992-01-01' + (n % 2400)::int AS l_shipdate, date '1992-02-01' + (n % 2401)::int AS l_commitdate,
         date '1992-03-01' + (n % 2402)::int AS l_receiptdate, 'DELIVER IN PERSON'::char(25) AS l_shipinstruct,
         'TRUCK'::char(10) AS l_shipmode, ('ironic packages ' || left(md5(n::text), (n % 28)::int))::varchar(44) AS l_comment,
         timestamp '2024-01-01' + n * interval '1 second' AS l_updated
    FROM generate_series(1, ${rows}) n`;

/** A table's snapshot by the gateway, into staging, against `psql` copying the same table in binary to nowhere. */
export async function benchSnapshot(options: BenchOptions): Promise<Figure> {
  const rows = options.rows ?? (options.quick ? 300_000 : 2_000_000);
  const psql = debianTool("psql");
  const postgres = await startPostgres();
  const client = await postgres.client();
  const ours = { seconds: [] as number[], peakMemoryBytes: [] as number[] };
  const peer: number[] = [];
  try {
    await client.query(lineitem(rows));
    await client.query("ALTER TABLE lineitem REPLICA IDENTITY FULL");
    await client.query("CREATE PUBLICATION bench FOR TABLE lineitem");
    await client.query("VACUUM (FREEZE, ANALYZE) lineitem");
    for (let run = 0; run < options.runs; run++) {
      const slot = `bench_${run}`;
      const folder = join(options.folder, slot);
      await client.query("SELECT pg_create_logical_replication_slot($1, 'pgoutput')", [slot]);
      await client.query("CHECKPOINT");
      options.progress(`snapshot ${run + 1}/${options.runs}`);
      const result = await runUntilStaged(
        gatewayFor(postgres, folder, slot),
        (record) => record.events.some((event) => event.kind === "snapshot-end"),
        options.timeoutMs,
      );
      ours.seconds.push(result.seconds);
      ours.peakMemoryBytes.push(result.peakMemoryBytes);
      await client.query("SELECT pg_drop_replication_slot($1)", [slot]);
      rmSync(folder, { recursive: true, force: true });
      if ("path" in psql) peer.push(copyByPsql(psql.path, postgres));
    }
  } finally {
    await client.end();
    await postgres.stop();
  }
  return figure("snapshot", rows, ours, "path" in psql ? { name: "psql COPY binary", seconds: peer } : psql);
}

function copyByPsql(path: string, postgres: { host: string; port: number; user: string; password: string }): number {
  const startedAt = process.hrtime.bigint();
  const { status, stderr } = spawnSync(
    path,
    [
      "-X",
      "-q",
      "-h",
      postgres.host,
      "-p",
      String(postgres.port),
      "-U",
      postgres.user,
      "-d",
      "postgres",
      "-c",
      "COPY lineitem TO STDOUT (FORMAT binary)",
    ],
    { stdio: ["ignore", "ignore", "pipe"], env: { ...process.env, PGPASSWORD: postgres.password }, timeout: 600_000 },
  );
  if (status !== 0) throw new Error(`psql: ${stderr?.toString()}`);
  return Number(process.hrtime.bigint() - startedAt) / 1e9;
}
