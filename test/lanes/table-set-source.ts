import { defaultTableOptions, type NamedTableOptions } from "../../runtime/table-options";
import { arrayCase } from "../runtime/change/array-cases";
import { type TypeCase, typeCases, typeDefinitions } from "../runtime/change/type-cases";

/** Types that the destination has, and some of the many that are text there. */
const texts = ["text", "varchar", "char(5)", "json", "mood", "int4range"];
const cases = typeCases.filter((one) => one.deltaType !== "string" || texts.includes(one.type));

const arrays = cases.map(arrayCase);

/** Row n has the n-th edge of each type, as far as there is one. */
function edgeRows(table: string, all: TypeCase[], idFrom: number): string {
  const count = Math.max(...all.map(({ edges }) => edges.length));
  const rows = Array.from({ length: count }, (_, at) => {
    const values = all.map(({ edges, type }) => (at < edges.length ? `'${quote(edges[at])}'::${type}` : "NULL"));
    return `(${idFrom + at}, ${values.join(", ")})`;
  });
  return `INSERT INTO ${table} VALUES ${rows.join(",\n")}`;
}

const quote = (text: string) => text.replaceAll("'", "''");

const columns = `id bigint PRIMARY KEY, customer text, amount numeric(12,2), placed timestamp, quantity int, day date,
  at timestamptz, ratio double precision, payload bytea`;
const rowsOf = (from: number, to: number) => `SELECT i, 'customer ' || i % 97, i * 1.25,
  timestamp '2024-01-01' + i * interval '61.000001 seconds', CASE WHEN i % 7 > 0 THEN i % 1000 END, date '1970-01-01' + i,
  timestamptz '1999-12-31 23:00:00.000001+02' + i * interval '1 hour', i / 3.0, decode(lpad(to_hex(i), 8, '0'), 'hex')
  FROM generate_series(${from}, ${to}) i`;

const names = "id, customer, amount, placed, quantity, day, at, ratio, payload";
/** Those that no table loses. */
const lasting = "id, amount, placed, day, at, ratio, payload";

/** Tables of one shape; each but the first is kept otherwise in the destination. */
const likeOrders = ["orders", "rewritten", "kept", "history", "versions", "keyless", "old_name", "evolved", "refilled"];

/** One of some regions with odd names, or NULL, by a number. */
const region = (number: string) => `(ARRAY['eu', 'a/b=ü %2F', ' ', '''"{}?*[x]#', NULL])[${number} % 5 + 1]`;

/** Tables that readers without column mapping and deletion vectors read. */
const plain = ["plain", "plain_parts"];
const plainColumns = `id int PRIMARY KEY, name text, amount numeric(12,2), day date, at timestamptz, flag bool,
  ratio double precision, payload bytea, numbers int[]`;
const plainRows = (from: number, to: number) => `SELECT i, 'ü ' || i, i * 1.25, date '2024-02-28' + i % 3,
  timestamptz '1999-12-31 23:00:00.000001+02' + i * interval '1 hour', i % 2 = 0, i / 3.0, decode(lpad(to_hex(i), 8, '0'), 'hex'),
  CASE WHEN i % 5 > 0 THEN ARRAY[i, NULL] END FROM generate_series(${from}, ${to}) i`;

/** Tables with a column of each type, and of arrays of each. */
export const typeTables = `
  ${typeDefinitions}
  DROP TABLE known;
  CREATE TABLE all_types (id int PRIMARY KEY, ${cases.map(({ type }, at) => `t${at} ${type}`).join(", ")});
  ${edgeRows("all_types", cases, 1)};
  CREATE TABLE all_arrays (id int PRIMARY KEY, ${arrays.map(({ type }, at) => `t${at} ${type}`).join(", ")});
  ${edgeRows("all_arrays", arrays, 1)};
`;

/** Rows with the edges of each type again. */
export const typeRows = [edgeRows("all_types", cases, 1_001), edgeRows("all_arrays", arrays, 1_001)];

export const tableSetSetup = `
  ${typeTables}
  ${likeOrders.map((name) => `CREATE TABLE ${name} (${columns}); INSERT INTO ${name} ${rowsOf(1, 2_000)};`).join("\n")}
  ALTER TABLE keyless DROP CONSTRAINT keyless_pkey;
  ALTER TABLE keyless REPLICA IDENTITY FULL;
  CREATE TABLE "Größe und ""Ort"" %20" ("Id, nr" int PRIMARY KEY, "a b" text, "{x}=;" numeric(38,10));
  INSERT INTO "Größe und ""Ort"" %20" SELECT i, 'ü ' || i, i / 7.0 FROM generate_series(1, 50) i;
  CREATE TABLE parted (region text, day date, amount numeric(12,2), name text, id int PRIMARY KEY);
  INSERT INTO parted SELECT ${region("i")}, date '2024-02-28' + i % 3, i % 2 / 4.0, 'n' || i, i FROM generate_series(1, 200) i;
  ${plain.map((name) => `CREATE TABLE ${name} (${plainColumns}); INSERT INTO ${name} ${plainRows(1, 200)};`).join("\n")}
  CREATE TABLE empty (id int PRIMARY KEY, name text);
`;

export const tableSetOptions: NamedTableOptions[] = [
  { name: "rewritten", deletionVectors: false },
  { name: "kept", mode: "softDelete", metadataColumns: true, clusterBy: ["placed", "customer"] },
  { name: "history", mode: "append" },
  { name: "versions", mode: "scd2" },
  ...plain.map((name) => ({
    ...{ name, columnMapping: false, deletionVectors: false, changeDataFeed: true },
    ...(name === "plain" ? {} : { partitionBy: ["day"] }),
  })),
  { name: "parted", partitionBy: ["region", "day", "amount"], changeDataFeed: true },
].map((options) => ({
  ...defaultTableOptions,
  schema: "public",
  ...(options as Partial<NamedTableOptions> & { name: string }),
}));

/** Batches in order; one list of statements is applied before the next is run. */
export function tableSetBatches(): string[][] {
  const batches: string[][] = [];
  for (let round = 1; round <= 24; round++) {
    const from = 10_000 + round * 100;
    batches.push(
      likeOrders.flatMap((name) => [
        `UPDATE ${name} SET ratio = -ratio WHERE id % 101 = ${round}`,
        `DELETE FROM ${name} WHERE id % 103 = ${round}`,
        `INSERT INTO ${name} (${lasting}) SELECT ${lasting} FROM (${rowsOf(from, from + 19)}) n(${names})`,
      ]),
    );
  }
  batches[2].push("UPDATE all_types SET t0 = NOT t0 WHERE id % 3 = 0", "DELETE FROM all_types WHERE id = 2");
  batches[3].push("UPDATE all_arrays SET t0 = NULL WHERE id % 4 = 0", "DELETE FROM all_arrays WHERE id = 2");
  batches[4].push(...typeRows, 'DELETE FROM "Größe und ""Ort"" %20" WHERE "Id, nr" % 7 = 0');
  batches[5].push("TRUNCATE refilled", `INSERT INTO refilled ${rowsOf(1, 300)}`);
  for (const at of [1, 3, 10, 18, 20]) {
    batches[at].push(
      `UPDATE parted SET region = ${region(`(id + ${at})`)}, name = 'moved' WHERE id % 7 = ${at % 7}`,
      `DELETE FROM parted WHERE id % 41 = ${at}`,
      `INSERT INTO parted VALUES (${region(`${at}`)}, '1969-12-31', -1.5, NULL, ${1_000 + at})`,
    );
  }
  batches[6].push(
    "ALTER TABLE evolved RENAME COLUMN customer TO client",
    "ALTER TABLE evolved ADD added int DEFAULT 7",
  );
  batches[7].push("UPDATE evolved SET added = 8, client = 'c' WHERE id % 50 = 0");
  batches[8].push("ALTER TABLE evolved DROP COLUMN quantity, ADD quantity text, ALTER amount TYPE numeric(14,2)");
  batches[9].push("UPDATE evolved SET quantity = 'new' WHERE id % 40 = 0");
  batches[10].push("ALTER TABLE evolved ALTER added TYPE bigint");
  batches[11].push("ALTER TABLE old_name RENAME TO new_name");
  for (const name of plain) {
    batches[5].push(
      `UPDATE ${name} SET name = 'b', day = day + 1 WHERE id % 7 = 0`,
      `DELETE FROM ${name} WHERE id % 11 = 0`,
    );
    batches[8].push(
      `ALTER TABLE ${name} RENAME COLUMN name TO label`,
      `ALTER TABLE ${name} RENAME COLUMN day TO date`,
      `ALTER TABLE ${name} DROP COLUMN flag, ADD COLUMN name text DEFAULT 'new'`,
    );
    batches[9].push(`UPDATE ${name} SET name = label WHERE id % 5 = 0`, `DELETE FROM ${name} WHERE id % 13 = 0`);
  }
  // Keys that move.
  batches[12].push(
    "UPDATE orders SET id = id + 1000000 WHERE id % 211 = 5",
    "UPDATE kept SET id = -id WHERE id % 211 = 5",
  );
  for (const batch of batches.slice(12)) {
    for (const [at, statement] of batch.entries()) batch[at] = statement.replace(/\bold_name\b/, "new_name");
  }
  return batches;
}

/** Run last, after compaction: deleted rows in files of all tables that have vectors. */
export const tableSetLast = [
  ...likeOrders.filter((name) => name !== "history").map((name) => `DELETE FROM ${name} WHERE id % 107 = 1`),
  'DELETE FROM "Größe und ""Ort"" %20" WHERE "Id, nr" = 5',
  "DELETE FROM all_types WHERE id IN (9, 1012)",
  "DELETE FROM all_arrays WHERE id IN (3, 1003)",
  "DELETE FROM parted WHERE id = 1001",
  `UPDATE parted SET region = ${region("(id + 1)")}, name = NULL WHERE id % 9 = 1`,
  "UPDATE parted SET name = name WHERE id % 9 = 2",
  "UPDATE parted SET name = 'same partition' WHERE id % 9 = 3",
  "UPDATE parted SET id = id + 5000 WHERE id % 9 = 4",
  "INSERT INTO parted VALUES (NULL, NULL, NULL, NULL, 2000)",
  ...plain.flatMap((name) => [
    `UPDATE ${name} SET label = 'last' WHERE id % 9 = 1`,
    `DELETE FROM ${name} WHERE id % 9 = 2`,
    `INSERT INTO ${name} (id, label) VALUES (1000, NULL)`,
  ]),
].map((statement) => statement.replace("old_name", "new_name"));
