import type { Client } from "pg";
import type { Random } from "./random";

export type Changed = "insert" | "update" | "key-change" | "delete" | "savepoint-rollback";
export interface Change {
  kind: Changed;
  rows: number;
}

export interface TransactionSetting {
  client: Client;
  random: Random;
  /** rows at the start, whose keys are 1, 2, … */
  orders: number;
  parts: number;
  customers: number;
  /** a key that no other connection makes */
  newKeys: () => number;
}

type Note = (change: Change) => void;
type Transaction = (setting: TransactionSetting, note: Note) => Promise<"commit" | "rollback">;

const comments = [
  "",
  "short",
  "Grüße 東京 😀",
  "tab\there\nand \\N there",
  '"quoted", ',
  null,
  "x".repeat(23),
] as const;

/** Runs one statement and notes its rows. */
async function change(client: Client, note: Note, kind: Changed, sql: string, values: unknown[] = []): Promise<number> {
  const { rowCount } = await client.query(sql, values);
  const rows = rowCount ?? 0;
  if (rows > 0) note({ kind, rows });
  return rows;
}

async function insertOrder({ client, random, ...setting }: TransactionSetting, note: Note): Promise<number> {
  const orderKey = setting.newKeys();
  await change(
    client,
    note,
    "insert",
    "INSERT INTO orders VALUES ($1, $2, 'O', $3, date '1998-01-01' + $4::int, '1-URGENT', 'Clerk#new', 0, $5)",
    [orderKey, random.between(1, setting.customers), money(random), random.between(0, 400), random.choose(comments)],
  );
  await change(
    client,
    note,
    "insert",
    `INSERT INTO lineitem SELECT $1, $2, $3, i, i * 3, $4::numeric + i, 0.05, 0.08, 'N', 'O', date '1998-02-01' + i,
       date '1998-03-01' - i, date '1998-02-15', 'NONE', 'AIR', $5 FROM generate_series(1, $6::int) AS i`,
    [
      orderKey,
      random.between(1, setting.parts),
      random.between(1, 10),
      money(random),
      random.choose(comments),
      random.between(1, 7),
    ],
  );
  return orderKey;
}

function money(random: Random): string {
  return (random.between(-99_999, 99_999_999) / 100).toFixed(2);
}

/** Kinds of transactions, by name. Each is run between BEGIN and what it returns. */
export const transactions: Record<string, Transaction> = {
  async newOrder(setting, note) {
    const { client, random } = setting;
    await insertOrder(setting, note);
    await change(client, note, "update", "UPDATE customer SET c_acctbal = c_acctbal - $1 WHERE c_custkey = $2", [
      random.between(1, 500),
      random.between(1, setting.customers),
    ]);
    await change(client, note, "update", "UPDATE partsupp SET ps_availqty = ps_availqty - 1 WHERE ps_partkey = $1", [
      random.between(1, setting.parts),
    ]);
    return "commit";
  },

  async deliver({ client, random, orders }, note) {
    const from = random.between(1, orders);
    const range = [from, from + random.between(0, 20)];
    await change(
      client,
      note,
      "update",
      "UPDATE orders SET o_orderstatus = 'F' WHERE o_orderkey BETWEEN $1 AND $2",
      range,
    );
    await change(
      client,
      note,
      "update",
      `UPDATE lineitem SET l_linestatus = 'F', l_receiptdate = l_receiptdate + 1, l_comment = $3
       WHERE l_orderkey BETWEEN $1 AND $2`,
      [...range, random.choose(comments)],
    );
    return "commit";
  },

  async cancel({ client, random, orders }, note) {
    const key = [random.between(1, orders)];
    await change(client, note, "delete", "DELETE FROM lineitem WHERE l_orderkey = $1", key);
    await change(client, note, "delete", "DELETE FROM orders WHERE o_orderkey = $1", key);
    return "commit";
  },

  async changeKeys({ client, random, orders, parts, newKeys }, note) {
    const key = [newKeys(), random.between(1, orders)];
    await change(client, note, "key-change", "UPDATE orders SET o_orderkey = $1 WHERE o_orderkey = $2", key);
    await change(client, note, "key-change", "UPDATE lineitem SET l_orderkey = $1 WHERE l_orderkey = $2", key);
    const part = [newKeys(), random.between(1, parts)];
    await change(client, note, "key-change", "UPDATE part SET p_partkey = $1, p_size = 7 WHERE p_partkey = $2", part);
    await change(client, note, "key-change", "UPDATE partsupp SET ps_partkey = $1 WHERE ps_partkey = $2", part);
    return "commit";
  },

  /** Two rows exchange their keys by way of a third. */
  async swapKeys({ client, random, customers, newKeys }, note) {
    const a = random.between(1, customers);
    const b = random.between(1, customers);
    const between = newKeys();
    for (const keys of [
      [between, a],
      [a, b],
      [b, between],
    ]) {
      await change(client, note, "key-change", "UPDATE customer SET c_custkey = $1 WHERE c_custkey = $2", keys);
    }
    return "commit";
  },

  /** The same key is deleted, inserted and changed in one transaction. */
  async reinsert({ client, random, parts }, note) {
    const key = random.between(1, parts);
    const { rows } = await client.query("SELECT 1 FROM part WHERE p_partkey = $1 FOR UPDATE", [key]);
    if (rows.length === 1) await change(client, note, "delete", "DELETE FROM part WHERE p_partkey = $1", [key]);
    await change(
      client,
      note,
      "insert",
      "INSERT INTO part VALUES ($1, 'again', 'Manufacturer#9', 'Brand#9', 'SMALL', 1, 'LG BOX', $2, $3)",
      [key, money(random), random.choose(comments)],
    );
    await change(client, note, "update", "UPDATE part SET p_size = p_size + 1 WHERE p_partkey = $1", [key]);
    return "commit";
  },

  async touchNations({ client, random }, note) {
    await change(client, note, "update", "UPDATE nation SET n_comment = $1 WHERE n_nationkey = $2", [
      random.choose(comments),
      random.between(0, 24),
    ]);
    return "commit";
  },

  async giveUp(setting, note) {
    await insertOrder(setting, note);
    await setting.client.query("DELETE FROM nation");
    return "rollback";
  },

  async savepoints(setting, note) {
    const { client, random } = setting;
    const kept = await insertOrder(setting, note);
    await client.query("SAVEPOINT a");
    await client.query("DELETE FROM lineitem WHERE l_orderkey BETWEEN $1 AND $1 + 50", [
      random.between(1, setting.orders),
    ]);
    await insertOrder(setting, () => {});
    await client.query("ROLLBACK TO SAVEPOINT a");
    note({ kind: "savepoint-rollback", rows: 1 });
    await client.query("SAVEPOINT b");
    await change(client, note, "update", "UPDATE orders SET o_comment = 'kept' WHERE o_orderkey = $1", [kept]);
    await client.query("RELEASE SAVEPOINT b");
    return "commit";
  },

  /** Lives and dies within one transaction. */
  async passing(setting, note) {
    const key = await insertOrder(setting, note);
    await change(setting.client, note, "delete", "DELETE FROM lineitem WHERE l_orderkey = $1", [key]);
    await change(setting.client, note, "delete", "DELETE FROM orders WHERE o_orderkey = $1", [key]);
    return "commit";
  },
};
