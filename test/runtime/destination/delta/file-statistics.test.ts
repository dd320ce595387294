// Contract: statistics contain every value of their file, are read as such by readers of the protocol, and leave out what
// readers understand differently; files that can't hold a key aren't looked into, and none that can is left out.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { readFileStatistics, withTightBounds } from "../../../../runtime/destination/delta/file-statistics";
import { DuckDbSession } from "../../../../runtime/destination/duckdb-session";
import { tableSchema } from "../../applier/staged-log";

let folder: string;
let session: DuckDbSession;
beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), "sluice-stats-"));
  session = await DuckDbSession.open({ memoryBytesMax: 128 * 1024 * 1024, temporaryPath: join(folder, "spill") });
});
afterEach(async () => {
  await session.close();
  rmSync(folder, { recursive: true, force: true });
});

async function statistics(type: string, ...values: string[]): Promise<Record<string, unknown>> {
  const path = join(folder, "it's.parquet");
  const schema = tableSchema("1", "t", { c: type });
  const rows = values.map((value) => `(${value})`).join(", ");
  await session.run(`COPY (SELECT * FROM (VALUES ${rows}) v(c1)) TO '${path.replace("'", "''")}' (FORMAT parquet)`);
  const text = (await readFileStatistics(session, new Map([[path, values.length]]), schema.columns)).get(
    path,
  ) as string;
  const [min, max, nulls] = ["minValues", "maxValues", "nullCount"].map(
    (name) => new RegExp(`"${name}":\\{(?:"c1":("(?:[^"\\\\]|\\\\.)*"|[^},]*))?\\}`).exec(text)?.[1],
  );
  return { min, max, nulls };
}

describe("statistics", () => {
  it.each([
    ["long", ["9007199254740993::BIGINT", "-5", "NULL"], "-5", "9007199254740993", "1"],
    ["short", ["7::SMALLINT", "30"], "7", "30", "0"],
    [
      "decimal(38,18)",
      ["-1.5::DECIMAL(38,18)", "12345678901234567890.000000000000000001"],
      "-1.500000000000000000",
      "12345678901234567890.000000000000000001",
      "0",
    ],
    ["decimal(10,2)", ["-10.25::DECIMAL(10,2)", "9.5", "-2"], "-10.25", "9.50", "0"],
    ["date", ["DATE '1969-12-31'", "DATE '2020-02-29'"], '"1969-12-31"', '"2020-02-29"', "0"],
    [
      "timestamp_ntz",
      ["TIMESTAMP '2020-01-01 00:00:00.000001'", "TIMESTAMP '2020-01-01 00:00:00.001001'"],
      '"2020-01-01T00:00:00.000"',
      '"2020-01-01T00:00:00.002"',
      "0",
    ],
    [
      "timestamp",
      ["TIMESTAMPTZ '1960-01-01 00:00:00.0015+00'", "TIMESTAMPTZ '1960-01-01 02:00:00+00'"],
      '"1960-01-01T00:00:00.001Z"',
      '"1960-01-01T02:00:00.000Z"',
      "0",
    ],
    ["string", ["'b'", "'a\"'", "NULL"], '"a\\""', '"b"', "1"],
    ["string", ["''", "repeat('z', 40)"], '""', `"${"z".repeat(32)}\u{10ffff}"`, "0"],
    ["string", ["'é'", "'z'"], undefined, undefined, "0"],
    ["double", ["'nan'::DOUBLE", "1"], undefined, undefined, "0"],
    ["boolean", ["true", "NULL"], undefined, undefined, "1"],
    ["integer", ["NULL::INTEGER", "NULL"], undefined, undefined, "2"],
  ] as [string, string[], string | undefined, string | undefined, string][])(
    "of %s %j",
    async (type, values, min, max, nulls) => expect(await statistics(type, ...values)).toEqual({ min, max, nulls }),
  );

  it("cover all row groups of a file", async () => {
    const path = join(folder, "groups.parquet");
    await session.run(
      `COPY (SELECT (CASE WHEN i = 5000 THEN 99999 ELSE i END)::INTEGER AS c1, CASE WHEN i < 3000 THEN NULL ELSE 'a' || i END AS c2
       FROM range(10000) t(i)) TO '${path}' (FORMAT parquet, ROW_GROUP_SIZE 2048)`,
    );
    const { columns } = tableSchema("1", "t", { a: "integer", b: "string", added: "date" });
    const text = (await readFileStatistics(session, new Map([[path, 10_000]]), columns)).get(path) as string;
    expect(JSON.parse(text)).toEqual({
      numRecords: 10_000,
      tightBounds: true,
      minValues: { c1: 0, c2: "a3000" },
      maxValues: { c1: 99_999, c2: "a9999" },
      nullCount: { c1: 0, c2: 3000, c3: 10_000 },
    });
  });

  it("say whether they're tight, also those of other writers", () => {
    expect(withTightBounds('{"numRecords":1,"tightBounds":true}', false)).toBe('{"numRecords":1,"tightBounds":false}');
    expect(withTightBounds('{"numRecords":12345678901234567}', false)).toBe(
      '{"tightBounds":false,"numRecords":12345678901234567}',
    );
  });
});
