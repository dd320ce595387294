// Contract: a row filter made of typed conditions is what PostgreSQL makes of the values themselves: each literal is read
// as the column's type reads it, whatever is in it; conditions combine as SQL's three-valued logic has it; every form is
// one that a publication takes.
import type pg from "pg";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { CatalogColumn, CatalogTable } from "../../../provider/typed/catalog";
import type { FilterKind } from "../../../provider/typed/filter-literal";
import { renderLiteral } from "../../../provider/typed/filter-literal";
import * as typed from "../../../provider/typed/row-filter";
import { table } from "../../../provider/typed/table-builders";
import { quoteIdentifier } from "../../../runtime/postgres/identifier";
import { startPostgres, type TestPostgres } from "../../support/postgres-server";
import fc, { propertyRuns } from "../../support/property";

let server: TestPostgres;
let client: pg.Client;

beforeAll(async () => {
  server = await startPostgres();
  client = await server.client();
});

afterAll(async () => {
  await client?.end();
  await server?.stop();
});

/** As a filter without its types takes it: what is tested is the value. */
type Loose = (column: unknown, ...values: unknown[]) => { sql: string };
const operators: Record<string, Loose> = {
  "=": typed.eq as unknown as Loose,
  "<>": typed.ne as unknown as Loose,
  "<": typed.lt as unknown as Loose,
  "<=": typed.le as unknown as Loose,
  ">": typed.gt as unknown as Loose,
  ">=": typed.ge as unknown as Loose,
};

interface Kind {
  type: string;
  /** values, with their text as the type's input function reads it */
  values: fc.Arbitrary<[unknown, string]>;
}

const own = <T>(values: fc.Arbitrary<T>, text: (value: T) => string = String) =>
  values.map((value): [unknown, string] => [value, text(value)]);

const days = fc.date({ min: new Date("0001-01-01"), max: new Date("9999-12-31"), noInvalidDate: true });
const words = fc.string({
  unit: fc.constantFrom("a", "'", "\\", '"', "%", "_", "$", " ", "é", "😀", "\n", "E", "-", ";"),
});
const kinds: Record<FilterKind, Kind> = {
  smallint: { type: "smallint", values: own(fc.integer({ min: -32_768, max: 32_767 })) },
  integer: { type: "integer", values: own(fc.integer()) },
  bigint: { type: "bigint", values: own(fc.oneof(fc.bigInt(-(2n ** 63n), 2n ** 63n - 1n), fc.maxSafeInteger())) },
  numeric: {
    type: "numeric",
    values: fc.oneof(
      own(fc.double({ noNaN: true, noDefaultInfinity: true })),
      own(fc.bigInt()),
      own(fc.tuple(fc.bigInt(), fc.nat()), ([a, b]) => `${a}.${b}`).map(([, text]): [unknown, string] => [text, text]),
    ),
  },
  real: { type: "real", values: own(fc.float({ minExcluded: false }).filter((x) => Math.abs(x) > 1e-37 || x === 0)) },
  double: {
    type: "double precision",
    values: own(fc.double().filter((x) => Math.abs(x) > 1e-300 || x === 0 || Number.isNaN(x))),
  },
  text: { type: "text", values: own(words) },
  boolean: { type: "boolean", values: own(fc.boolean()) },
  date: { type: "date", values: own(days.map((day) => day.toISOString().slice(0, 10))) },
  timestamp: { type: "timestamp", values: own(days.map((day) => day.toISOString().slice(0, -1))) },
  timestamptz: {
    type: "timestamptz",
    values: fc.oneof(
      own(days, (day) => day.toISOString()),
      own(days.map((day) => day.toISOString().replace("Z", "+05:30"))),
    ),
  },
  uuid: { type: "uuid", values: own(fc.uuid()) },
  bytea: { type: "bytea", values: own(fc.uint8Array(), (bytes) => `\\x${Buffer.from(bytes).toString("hex")}`) },
};
const names = Object.keys(kinds) as FilterKind[];

const columnName = 'od"d \\ col';
const column = (value: FilterKind) => ({ column: columnName, value });

interface Sample {
  condition: string;
  /** PostgreSQL's own comparison of the bound values */
  expected: string;
  bound: string[];
}

async function compare(type: string, samples: Sample[]): Promise<void> {
  const parameters: string[] = [];
  const parts = samples.map(({ condition, expected, bound }) => {
    const place = (index: number) => `$${parameters.length + index + 1}::text::${type}`;
    const given = bound.map((_, index) => place(index));
    const oracle = expected.replaceAll(/\{(\d)\}/g, (_, index) => given[Number(index)]);
    parameters.push(...bound);
    return `(SELECT ARRAY[(${condition})::text, (${oracle})::text] FROM (SELECT ${given[0]} AS ${quoteIdentifier(columnName)}) AS r)`;
  });
  const { rows } = await client.query<{ pairs: [string | null, string | null][] }>(
    `SELECT ARRAY[${parts.join(",\n")}] AS pairs`,
    parameters,
  );
  rows[0].pairs.forEach(([found, wanted], index) => {
    expect(found, `${samples[index].condition} for ${JSON.stringify(samples[index].bound)}`).toBe(wanted);
  });
}

describe("a literal", () => {
  it.each(names)("of %s means the value, by every operator", async (kind) => {
    const { type, values } = kinds[kind];
    const sample = fc
      .record({ operator: fc.constantFrom(...Object.keys(operators)), a: values, b: values, same: fc.boolean() })
      .map(({ operator, a, b, same }): Sample => {
        const [value, text] = same ? a : b;
        const { sql } = operators[operator](column(kind), value);
        return { condition: sql, expected: `{0} ${operator} {1}`, bound: [a[1], text] };
      });
    const lists = fc.tuple(values, fc.array(values, { minLength: 1, maxLength: 3 })).map(([a, several]): Sample => {
      const { sql } = (typed.oneOf as unknown as Loose)(
        column(kind),
        several.map(([value]) => value),
      );
      const wanted = several.map((_, index) => `{0} = {${index + 1}}`).join(" OR ");
      return { condition: sql, expected: wanted, bound: [a[1], ...several.map(([, text]) => text)] };
    });
    const ranges = fc.tuple(values, values, values).map((three): Sample => {
      const { sql } = (typed.between as unknown as Loose)(column(kind), three[1][0], three[2][0]);
      return { condition: sql, expected: "{0} >= {1} AND {0} <= {2}", bound: three.map(([, text]) => text) };
    });
    const all = fc.array(fc.oneof(sample, sample, lists, ranges), { minLength: 40, maxLength: 40 });
    await fc.assert(
      fc.asyncProperty(all, (samples) => compare(type, samples)),
      propertyRuns(5),
    );
  });

  it("of a pattern means it", async () => {
    const sample = fc.tuple(words, words).map(([a, given]): Sample => {
      const pattern = given.replace(/\\+$/, "");
      return {
        condition: typed.like(column("text") as never, pattern).sql,
        expected: "{0} LIKE {1}",
        bound: [a, pattern],
      };
    });
    await fc.assert(
      fc.asyncProperty(fc.array(sample, { minLength: 50 }), (samples) => compare("text", samples)),
      propertyRuns(5),
    );
    expect(() => typed.like(column("text") as never, "a\\")).toThrow("ends with an escape");
    expect(typed.like(column("text") as never, "a\\\\").sql).toContain("LIKE");
  });

  const refused: [FilterKind, unknown[]][] = [
    ["smallint", [32_768, 1.5, "1", Number.NaN, null, undefined]],
    ["integer", [2 ** 31, -(2n ** 31n) - 1n]],
    ["bigint", [2 ** 53, 2n ** 63n]],
    ["numeric", ["1; DROP TABLE t", "", "0x10", "1_000", true]],
    ["real", ["1"]],
    ["text", ["\0", "\ud800", 1]],
    ["boolean", ["true"]],
    ["date", ["today", "2026-5-1", "2026-05-01'"]],
    ["timestamp", ["now", "2026-05-01 10:00:00Z", new Date(0)]],
    ["timestamptz", ["2026-05-01 10:00:00", new Date(Number.NaN), "now"]],
    ["uuid", ["x", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a1'"]],
    ["bytea", ["\\x00", [1]]],
  ];

  it.each(refused)("of %s refuses what the type doesn't have", (kind, values) => {
    for (const value of values)
      expect(() => renderLiteral('"c"', kind, value)).toThrow(/is not a|is not true|is not text|is not bytes/);
  });
});

describe("conditions", () => {
  type Logic = boolean | null;
  const atoms: [string, Logic][] = [
    ["true", true],
    ["false", false],
    ["NULL", null],
  ];
  const and = (values: Logic[]) => (values.includes(false) ? false : values.includes(null) ? null : true);
  const negated = (value: Logic) => (value === null ? null : !value);

  it("combine as three-valued logic has it", async () => {
    const { tree } = fc.letrec<{ tree: [string, Logic] }>((tie) => ({
      tree: fc.oneof(
        { maxDepth: 4 },
        fc.constantFrom(...atoms),
        fc
          .tuple(fc.constantFrom("and", "or"), fc.array(tie("tree"), { minLength: 1, maxLength: 3 }))
          .map(([by, parts]): [string, Logic] => {
            const combine = by === "and" ? typed.and : typed.or;
            const values = parts.map(([, value]) => value);
            const value = by === "and" ? and(values) : negated(and(values.map(negated)));
            return [combine(...parts.map(([sql]) => ({ sql }))).sql, value];
          }),
        tie("tree").map(([sql, value]): [string, Logic] => [typed.not({ sql }).sql, negated(value)]),
      ),
    }));
    await fc.assert(
      fc.asyncProperty(fc.array(tree, { minLength: 50 }), async (trees) => {
        const { rows } = await client.query<{ found: Logic[] }>(
          `SELECT ARRAY[${trees.map(([sql]) => `(${sql})`).join(", ")}]::boolean[] AS found`,
        );
        expect(rows[0].found).toEqual(trees.map(([, value]) => value));
      }),
      propertyRuns(10),
    );
  });

  it("need at least one", () => {
    expect(() => typed.and()).toThrow("and() has no conditions");
    expect(() => typed.or()).toThrow("or() has no conditions");
    expect(() => typed.oneOf(column("text") as never, [])).toThrow("has no values");
  });
});

it("every form is one that a publication takes", async () => {
  const columns = Object.fromEntries(
    names.map((name): [string, CatalogColumn] => [
      `${name} "c"`,
      { type: kinds[name].type, value: name, nullable: true },
    ]),
  );
  const of: CatalogTable = { schema: "public", name: 'all "kinds"', kind: "table", key: [], columns };
  const definitions = Object.entries(columns).map(([name, { type }]) => `${quoteIdentifier(name)} ${type}`);
  await client.query(`CREATE TABLE public."all ""kinds""" (${definitions.join(", ")}, "vc" varchar(5), "ch" char(5))`);
  const [values] = fc.sample(fc.tuple(...names.map((name) => kinds[name].values)), { numRuns: 1, seed: 7 });
  const where = names.flatMap((name, index) => {
    const each = { column: `${name} "c"`, value: name };
    const [value] = values[index];
    const compared = Object.values(operators).flatMap((operator) => [operator(each, value), operator(each, each)]);
    const more = [typed.oneOf, typed.between, typed.isNull, typed.isNotNull] as unknown as Loose[];
    return [...compared, more[0](each, [value, value]), more[1](each, value, value), more[2](each), more[3](each)];
  });
  const mixed = [
    typed.eq(
      { column: 'integer "c"', value: "integer" } as never,
      { column: 'numeric "c"', value: "numeric" } as never,
    ),
    typed.eq(
      { column: 'smallint "c"', value: "smallint" } as never,
      { column: 'bigint "c"', value: "bigint" } as never,
    ),
    typed.eq({ column: 'real "c"', value: "real" } as never, { column: 'double "c"', value: "double" } as never),
    ...["vc", "ch"].flatMap((name) => [
      typed.eq({ column: name, value: "text" } as never, "a"),
      typed.oneOf({ column: name, value: "text" } as never, ["a", "b"]),
      typed.like({ column: name, value: "text" } as never, "a%"),
    ]),
  ];
  const refused: string[] = [];
  for (const condition of [...where, ...mixed]) {
    const filter = table(of, { where: () => typed.not(typed.or(condition, typed.and(condition))) });
    expect(filter.table).toEqual({ schema: "public", name: 'all "kinds"' });
    await client
      .query(`CREATE PUBLICATION p FOR TABLE public."all ""kinds""" WHERE (${filter.where}); DROP PUBLICATION p`)
      .catch(({ message, detail }) => refused.push(`${condition.sql}: ${message}: ${detail}`));
  }
  expect(refused).toEqual([]);
});
