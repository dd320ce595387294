import type { Client } from "pg";
import type { Random } from "../support/random";

/** Tables beside TPC-H's: without a key, with values out of line, emptied in a piece, and one whose columns change. */
export const oddTables = ["journal", "document", "scratch", "evolving"] as const;

export async function createOddTables(client: Client): Promise<void> {
  await client.query(`
    CREATE TABLE journal (at timestamptz, line text, amount numeric(12,2), marks float8[]);
    ALTER TABLE journal REPLICA IDENTITY FULL;
    CREATE TABLE document (id bigint PRIMARY KEY, title text, body text, note text, version integer NOT NULL DEFAULT 0,
      words text[]);
    ALTER TABLE document ALTER COLUMN body SET STORAGE EXTERNAL, ALTER COLUMN note SET STORAGE EXTERNAL;
    CREATE TABLE scratch (a integer, b text, v double precision, PRIMARY KEY (b, a));
    CREATE TABLE evolving (id bigint PRIMARY KEY, small smallint, price numeric(8,2), label varchar(20));
    INSERT INTO journal SELECT timestamptz '2024-01-01' + n * interval '1 s', 'line ' || n % 7, n % 3 FROM generate_series(1, 500) n;
    INSERT INTO document SELECT n, 't' || n, repeat(md5(n::text), 90), repeat(md5(n::text), 70), 0 FROM generate_series(1, 300) n;
    UPDATE document SET words = ARRAY(SELECT md5(id || '.' || n) FROM generate_series(1, 150) n) WHERE id % 3 = 0;
    INSERT INTO scratch SELECT n, 'b' || n % 5, n / 3.0 FROM generate_series(1, 200) n;
    INSERT INTO evolving SELECT n, n, n * 1.25, 'label ' || n FROM generate_series(1, 300) n;`);
}

interface Setting {
  client: Client;
  random: Random;
  /** a key that nothing else makes */
  newKey(): number;
}

type Step = (setting: Setting) => Promise<unknown>;

const steps: { weight: number; step: Step }[] = [
  {
    weight: 3,
    step: ({ client, random }) =>
      client.query(
        "INSERT INTO journal SELECT timestamptz '2025-01-01' + $1::int * interval '1 s', $2, $1::int % 3 FROM generate_series(1, $3::int)",
        [random.between(1, 50), random.choose(["same", "line 3", null]), random.between(1, 4)],
      ),
  },
  {
    weight: 2,
    step: ({ client, random }) =>
      client.query(
        "UPDATE journal SET amount = amount + 1 WHERE ctid IN (SELECT ctid FROM journal OFFSET $1 LIMIT 3)",
        [random.between(0, 300)],
      ),
  },
  {
    weight: 2,
    step: ({ client, random }) =>
      client.query("DELETE FROM journal WHERE ctid IN (SELECT ctid FROM journal OFFSET $1 LIMIT 2)", [
        random.between(0, 300),
      ]),
  },
  {
    weight: 2,
    step: ({ client, random }) => {
      const marks = random.choose(["{0,-0,NULL}", "{-0,0,NULL}", "{NaN}", "{}", "{{1,2}}", "[0:1]={1,2}", null]);
      return client.query(
        "INSERT INTO journal (line, marks) SELECT 'marks', $1::float8[] FROM generate_series(1, $2::int)",
        [marks, random.between(1, 3)],
      );
    },
  },
  {
    weight: 2,
    step: ({ client, random }) =>
      client.query(
        "UPDATE document SET words = ARRAY(SELECT md5(n::text) FROM generate_series($2, $2 + 200) n) WHERE id = $1",
        [random.between(1, 300), random.between(1, 1_000_000)],
      ),
  },
  {
    weight: 4,
    step: ({ client, random }) =>
      client.query("UPDATE document SET version = version + 1 WHERE id BETWEEN $1::int AND $1::int + 5", [
        random.between(1, 300),
      ]),
  },
  {
    weight: 2,
    step: ({ client, random }) =>
      client.query("UPDATE document SET note = repeat(md5($2::int::text), 80), title = NULL WHERE id = $1", [
        random.between(1, 300),
        random.between(1, 1_000_000),
      ]),
  },
  {
    weight: 2,
    step: ({ client, random, newKey }) =>
      client.query("UPDATE document SET id = $2 WHERE id = $1", [random.between(1, 300), newKey()]),
  },
  {
    weight: 2,
    step: async ({ client, random, newKey }) => {
      const id = newKey();
      await client.query(
        "INSERT INTO document VALUES ($1::bigint, 'new', repeat('x', $2::int), repeat(md5($1::bigint::text), 90))",
        [id, random.between(0, 20_000)],
      );
      await client.query("UPDATE document SET version = 7 WHERE id = $1", [id]);
      if (random.between(0, 3) === 0) await client.query("DELETE FROM document WHERE id = $1", [id]);
    },
  },
  {
    weight: 1,
    step: async ({ client, random }) => {
      await client.query("INSERT INTO scratch VALUES (-1, 'before', 0) ON CONFLICT DO NOTHING");
      await client.query(random.between(0, 1) === 0 ? "TRUNCATE scratch" : "TRUNCATE scratch, journal");
      await client.query("INSERT INTO scratch SELECT n, 'after', n FROM generate_series(1, $1::int) n", [
        random.between(0, 40),
      ]);
    },
  },
  {
    weight: 1,
    step: async ({ client, random, newKey }) => {
      // Larger than a batch, and than what the server decodes in memory; parts of it are taken back.
      const first = newKey() * 100_000;
      const rows = random.between(500, 6_000);
      await client.query("INSERT INTO evolving (id) SELECT $1::bigint + n FROM generate_series(1, $2::int) n", [
        first,
        rows,
      ]);
      await client.query("SAVEPOINT half");
      await client.query("INSERT INTO journal SELECT NULL, 'taken back', n FROM generate_series(1, $1::int) n", [rows]);
      await client.query("UPDATE evolving SET id = -id WHERE id > $1 AND id % 3 = 0", [first]);
      await client.query(`${random.between(0, 1) === 0 ? "ROLLBACK TO" : "RELEASE"} SAVEPOINT half`);
      await client.query("DELETE FROM evolving WHERE id > $1 AND id % 2 = 0", [first]);
      await client.query("DELETE FROM journal WHERE line = 'taken back' AND amount > 5");
    },
  },
  { weight: 2, step: changeColumns },
];

/** One of the changes of columns that a table lives through, with rows before and after it. */
async function changeColumns({ client, random, newKey }: Setting): Promise<void> {
  const { rows: columns } = await client.query<{ name: string; type: string }>(
    `SELECT attname AS name, format_type(atttypid, atttypmod) AS type FROM pg_attribute
     WHERE attrelid = 'evolving'::regclass AND attnum > 0 AND NOT attisdropped AND attname <> 'id' ORDER BY attnum`,
  );
  const insert = () => client.query("INSERT INTO evolving (id) VALUES ($1)", [newKey()]);
  const { name } = random.choose(columns);
  if (random.between(0, 1) === 0) await insert();
  const fresh = `n${newKey() % 1_000_000}`;
  switch (random.between(0, 7)) {
    case 0:
      await client.query(`ALTER TABLE evolving ADD COLUMN ${fresh} integer`);
      break;
    case 1:
      await client.query(`ALTER TABLE evolving ADD COLUMN ${fresh} text DEFAULT 'by default'`);
      break;
    case 2:
      await client.query(`ALTER TABLE evolving ADD COLUMN ${fresh} float8 DEFAULT random()`);
      break;
    case 7:
      await client.query(`ALTER TABLE evolving ADD COLUMN ${fresh} int[] DEFAULT '{1,NULL}'`);
      break;
    case 3:
      if (columns.length > 3) await client.query(`ALTER TABLE evolving DROP COLUMN ${name}`);
      break;
    case 4:
      await client.query(`ALTER TABLE evolving RENAME COLUMN ${name} TO ${fresh}`);
      break;
    case 5: {
      const wider: Record<string, string> = {
        smallint: "integer",
        integer: "bigint",
        "numeric(8,2)": "numeric(12,4)",
        "character varying(20)": "text",
      };
      const column = columns.find(({ type }) => wider[type] !== undefined);
      if (column !== undefined) {
        await client.query(`ALTER TABLE evolving ALTER COLUMN ${column.name} TYPE ${wider[column.type]}`);
      }
      break;
    }
    default:
      await client.query(`ALTER TABLE evolving ALTER COLUMN ${name} TYPE text`);
  }
  await insert();
}

/** Conflicts, lock timeouts, and what a server that goes away leaves its sessions with. */
const expected = new Set(["40001", "40P01", "55P03", "23505", "42703", "57P01", "57P02", "57P03", "22P02", "42804"]);

/** Runs random transactions until the signal; rolls one in six back. Ends, too, when the server ends the session. */
export async function runOddTransactions(setting: Setting, signal: AbortSignal): Promise<number> {
  const { client, random } = setting;
  let transactions = 0;
  while (!signal.aborted) {
    try {
      await client.query("BEGIN");
      await client.query("SET LOCAL lock_timeout = '2s'");
      for (let step = random.between(0, 3); step >= 0; step--) await chooseStep(random)(setting);
      await client.query(random.between(0, 5) === 0 ? "ROLLBACK" : "COMMIT");
      transactions++;
    } catch (error) {
      const { code } = error as { code?: string };
      if (code === undefined || code.startsWith("E")) return transactions;
      if (!expected.has(code)) throw error;
      await client.query("ROLLBACK").catch(() => {});
    }
  }
  return transactions;
}

function chooseStep(random: Random): Step {
  let left = random.between(
    1,
    steps.reduce((sum, { weight }) => sum + weight, 0),
  );
  for (const { weight, step } of steps) {
    left -= weight;
    if (left <= 0) return step;
  }
  throw new Error("weights don't add up");
}

/** A change in every table that may have changed its columns, so that the stream tells of them. */
export async function touchTables(client: Client, newKey: () => number): Promise<void> {
  await client.query("INSERT INTO evolving (id) VALUES ($1)", [newKey()]);
}
