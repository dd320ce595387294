/** Tables that Spark writes, as statements; {} is the table. Small: they are kept in test/fixtures/delta. */
export interface GoldenSource {
  name: string;
  statements: string[];
  /** what of it this project must refuse; absent: it reads the table and goes on with it */
  refused?: string;
}

const columns = `id BIGINT, name STRING, amount DECIMAL(12,2), at TIMESTAMP, local TIMESTAMP_NTZ, day DATE, flag BOOLEAN,
  data BINARY, ratio DOUBLE, small SMALLINT`;
const rows = (from: number, to: number) => `SELECT id, concat('name ', id), CAST(id * 1.25 AS DECIMAL(12,2)),
  timestamp_micros(1700000000000001 + id * 3600000000), CAST(timestamp_micros(-1000001 * id) AS TIMESTAMP_NTZ),
  date_add(DATE '1969-12-25', CAST(id AS INT)), IF(id % 5 = 0, NULL, id % 2 = 0), unhex(lpad(hex(id), 4, '0')), id / 7D,
  CAST(-id AS SMALLINT) FROM range(${from}, ${to}, 1, 1)`;
const table = (properties: string, more = "") => `CREATE TABLE {} (${columns}) USING delta ${more} TBLPROPERTIES (
  ${[properties, "'delta.checkpointPolicy' = 'classic'"].filter((each) => each !== "").join(", ")})`;
const mapped = "'delta.columnMapping.mode' = 'name', 'delta.enableDeletionVectors' = 'true'";
const simple = (properties: string, more = "") => [
  `CREATE TABLE {} (id INT, name STRING) USING delta ${more} TBLPROPERTIES (${properties})`,
  "INSERT INTO {} SELECT CAST(id AS INT), concat('n', id) FROM range(0, 5, 1, 1)",
];

export const sparkTables: GoldenSource[] = [
  {
    name: "spark-evolved",
    statements: [
      table(`${mapped}, 'delta.checkpointInterval' = '4'`),
      `INSERT INTO {} ${rows(0, 30)}`,
      `INSERT INTO {} ${rows(30, 60)}`,
      "DELETE FROM {} WHERE id % 7 = 3",
      "UPDATE {} SET name = 'updated' WHERE id % 10 = 1",
      "ALTER TABLE {} RENAME COLUMN name TO `the name`",
      "ALTER TABLE {} DROP COLUMN small",
      "ALTER TABLE {} ADD COLUMN small STRING",
      "DELETE FROM {} WHERE id % 7 = 4",
      "INSERT INTO {} (id, `the name`, small) VALUES (100, 'ü 🎉', 'x'), (NULL, NULL, NULL)",
    ],
  },
  {
    name: "spark-plain",
    statements: [
      table(
        "'delta.checkpointInterval' = '2', 'delta.enableDeletionVectors' = 'false', 'delta.minReaderVersion' = '1', 'delta.minWriterVersion' = '2'",
      ).replace("local TIMESTAMP_NTZ", "local TIMESTAMP"),
      `INSERT INTO {} ${rows(0, 20)}`,
      "DELETE FROM {} WHERE id % 3 = 0",
      "OPTIMIZE {} ZORDER BY (day)",
      `INSERT INTO {} ${rows(20, 25)}`,
    ],
  },
  {
    name: "spark-vectors",
    statements: [
      table(`${mapped}, 'delta.checkpointInterval' = '3'`),
      ...[0, 10, 20].map((from) => `INSERT INTO {} ${rows(from, from + 10)}`),
      "DELETE FROM {} WHERE id % 4 = 0",
    ],
  },
  {
    name: "spark-partitioned",
    statements: [
      `CREATE TABLE {} (id BIGINT, region STRING, day DATE, amount DECIMAL(10,2)) USING delta PARTITIONED BY (region, day)
        TBLPROPERTIES (${mapped}, 'delta.checkpointInterval' = '2')`,
      `INSERT INTO {} SELECT id, element_at(array('ü b', 'a/b=c', 'x%20y', NULL, 'plain'), CAST(id % 5 + 1 AS INT)),
        date_add(DATE '1969-12-31', CAST(id % 2 AS INT)), id FROM range(0, 20, 1, 1)`,
      "DELETE FROM {} WHERE id IN (0, 3, 11)",
      "INSERT INTO {} VALUES (20, NULL, NULL, 1.5), (21, 'a/b=c', DATE '1970-01-01', -0.01)",
    ],
  },
  {
    name: "spark-feed",
    statements: [
      table(`${mapped}, 'delta.enableChangeDataFeed' = 'true'`),
      `INSERT INTO {} ${rows(0, 10)}`,
      "UPDATE {} SET name = 'updated' WHERE id < 3",
    ],
  },
  {
    name: "spark-v2-checkpoint",
    refused: "v2Checkpoint",
    statements: [
      ...simple("'delta.checkpointPolicy' = 'v2', 'delta.checkpointInterval' = '2'"),
      "DELETE FROM {} WHERE id = 1",
      "DELETE FROM {} WHERE id = 2",
    ],
  },
  {
    name: "spark-type-widening",
    refused: "typeWidening",
    statements: [...simple("'delta.enableTypeWidening' = 'true'"), "ALTER TABLE {} ALTER COLUMN id TYPE BIGINT"],
  },
  { name: "spark-row-tracking", refused: "rowTracking", statements: simple("'delta.enableRowTracking' = 'true'") },
  {
    name: "spark-commit-timestamps",
    refused: "inCommitTimestamp",
    statements: simple("'delta.enableInCommitTimestamps' = 'true'"),
  },
  {
    name: "spark-clustered",
    statements: [
      table(`${mapped}, 'delta.checkpointInterval' = '4'`, "CLUSTER BY (day, name)"),
      ...[0, 20, 40].map((from) => `INSERT INTO {} ${rows(from, from + 20)}`),
      "OPTIMIZE {}",
      "DELETE FROM {} WHERE id % 7 = 3",
      `INSERT INTO {} ${rows(60, 70)}`,
    ],
  },
  {
    name: "spark-constraint",
    refused: "CHECK constraint",
    statements: [
      ...simple(
        "'delta.minWriterVersion' = '3', 'delta.minReaderVersion' = '1', 'delta.enableDeletionVectors' = 'false'",
      ),
      "ALTER TABLE {} ADD CONSTRAINT positive CHECK (id >= 0)",
    ],
  },
  {
    name: "spark-mapping-by-id",
    refused: "columnMapping.mode",
    statements: simple("'delta.columnMapping.mode' = 'id'"),
  },
  { name: "spark-append-only", refused: "appendOnly", statements: simple("'delta.appendOnly' = 'true'") },
  {
    name: "spark-not-null",
    refused: "NOT NULL",
    statements: ["CREATE TABLE {} (id INT NOT NULL, name STRING) USING delta", "INSERT INTO {} VALUES (1, 'a')"],
  },
];
