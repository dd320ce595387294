import { setTimeout as delay } from "node:timers/promises";
import { Client, type ClientConfig } from "pg";
import { Random } from "./random";
import { type Change, type Changed, type TransactionSetting, transactions } from "./workload-transactions";

export interface WorkloadOptions {
  /** the same seed gives each connection the same choices; default 1 */
  seed?: number;
  /** default 4, at most 10 */
  connections?: number;
  /** of each connection; default 50 */
  transactionsPerSecondMax?: number;
  /** of each connection; default 100,000 */
  transactionsMax?: number;
}

/** What was committed; rows of transactions and savepoints that were rolled back don't count. */
export interface WorkloadCounts {
  transactions: number;
  inserts: number;
  updates: number;
  deletes: number;
  /** rows whose key changed; counted as updates too */
  keyChanges: number;
  rollbacks: number;
  savepointRollbacks: number;
  /** transactions that the server gave up for a deadlock, a lock or a key taken meanwhile */
  conflicts: number;
}

export interface Workload {
  counts(): WorkloadCounts;
  /** Lets running transactions end, closes the connections; the same promise however often it is called. */
  stop(): Promise<WorkloadCounts>;
  /** Rejects when a connection fails for another reason than a conflict; else resolves when all have ended. */
  done: Promise<void>;
}

/** Conflicts of concurrent transactions: serialization, deadlock, lock timeout, unique violation. */
const conflictStates = new Set(["40001", "40P01", "55P03", "23505"]);

/**
 * Changes the TPC-H tables over several connections until `stop`: inserts, updates, deletes, changed keys, transactions
 * over many tables, rollbacks and savepoints, at a bounded rate.
 */
export async function startWorkload(connection: ClientConfig, options: WorkloadOptions = {}): Promise<Workload> {
  const counts: WorkloadCounts = {
    transactions: 0,
    inserts: 0,
    updates: 0,
    deletes: 0,
    keyChanges: 0,
    rollbacks: 0,
    savepointRollbacks: 0,
    conflicts: 0,
  };
  const stopping = new AbortController();
  const clients: Client[] = [];
  try {
    for (let index = 0; index < Math.min(options.connections ?? 4, 10); index++) {
      const client = new Client({ ...connection, application_name: `workload ${index}` });
      client.on("error", () => {});
      await client.connect();
      clients.push(client);
      await client.query("SET lock_timeout = '5s'");
    }
    const sizes = await readSizes(clients[0]);
    const running = clients.map(async (client, index) => {
      const random = new Random((options.seed ?? 1) * 7919 + index);
      const setting = { client, random, ...sizes, newKeys: await nextKeys(client, index) };
      await runConnection(setting, counts, options, stopping.signal);
    });
    const done = Promise.all(running).then(() => {});
    done.catch(() => stopping.abort());
    let stopped: Promise<WorkloadCounts> | undefined;
    const stop = async () => {
      stopping.abort();
      await Promise.allSettled(running);
      await Promise.all(clients.map((client) => client.end().catch(() => {})));
      await done;
      return counts;
    };
    return {
      counts: () => ({ ...counts }),
      done,
      stop: () => {
        stopped ??= stop();
        return stopped;
      },
    };
  } catch (error) {
    await Promise.all(clients.map((client) => client.end().catch(() => {})));
    throw error;
  }
}

async function readSizes(client: Client): Promise<{ orders: number; parts: number; customers: number }> {
  const { rows } = await client.query<{ orders: string; parts: string; customers: string }>(
    `SELECT (SELECT count(*) FROM orders) AS orders, (SELECT count(*) FROM part) AS parts,
            (SELECT count(*) FROM customer) AS customers`,
  );
  return { orders: Number(rows[0].orders), parts: Number(rows[0].parts), customers: Number(rows[0].customers) };
}

/** Each connection makes keys in a range of its own, from where an earlier workload ended. */
async function nextKeys(client: Client, index: number): Promise<() => number> {
  const first = 1_000_000_000 + index * 100_000_000;
  const { rows } = await client.query<{ newest: string | null }>(
    `SELECT greatest((SELECT max(o_orderkey) FROM orders WHERE o_orderkey BETWEEN $1 AND $2),
                     (SELECT max(p_partkey) FROM part WHERE p_partkey BETWEEN $1 AND $2),
                     (SELECT max(c_custkey) FROM customer WHERE c_custkey BETWEEN $1 AND $2)) AS newest`,
    [first, first + 99_999_999],
  );
  let next = Number(rows[0].newest ?? first);
  return () => ++next;
}

async function runConnection(
  setting: TransactionSetting,
  counts: WorkloadCounts,
  options: WorkloadOptions,
  signal: AbortSignal,
): Promise<void> {
  const { client, random } = setting;
  const intervalMs = 1_000 / (options.transactionsPerSecondMax ?? 50);
  const names = Object.keys(transactions);
  let dueMs = Date.now();
  for (let count = 0; count < (options.transactionsMax ?? 100_000) && !signal.aborted; count++) {
    // Every kind is used soon, whatever the seed.
    const name = count < names.length ? names[count] : random.choose(names);
    const changes: Change[] = [];
    try {
      await client.query("BEGIN");
      const end = await transactions[name](setting, (change) => changes.push(change));
      await client.query(end === "rollback" ? "ROLLBACK" : "COMMIT");
      addTo(counts, end, changes);
    } catch (error) {
      if (!conflictStates.has((error as { code?: string }).code ?? "")) throw error;
      await client.query("ROLLBACK");
      counts.conflicts++;
    }
    dueMs = Math.max(dueMs + intervalMs, Date.now() - 200);
    const waitMs = dueMs - Date.now();
    if (waitMs > 0) await delay(waitMs, undefined, { signal }).catch(() => {});
  }
}

function addTo(counts: WorkloadCounts, end: "commit" | "rollback", changes: readonly Change[]): void {
  counts.transactions++;
  if (end === "rollback") {
    counts.rollbacks++;
    return;
  }
  const sum = (kind: Changed) => changes.reduce((rows, change) => rows + (change.kind === kind ? change.rows : 0), 0);
  counts.inserts += sum("insert");
  counts.updates += sum("update") + sum("key-change");
  counts.keyChanges += sum("key-change");
  counts.deletes += sum("delete");
  counts.savepointRollbacks += sum("savepoint-rollback");
}
