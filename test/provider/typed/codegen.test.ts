// Contract: `sluice codegen` writes the source's tables as a TypeScript module: the same text for the same tables, whatever
// they are called; with it a wrong table, column or value of a filter is an error of the compiler, and `--check` ends with
// 1 where the module is stale.
// Invariant 6 (no secret leaves its place).
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type pg from "pg";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { catalogSource } from "../../../provider/codegen/catalog-source";
import { codegen } from "../../../provider/commands/codegen";
import { startPostgres, type TestPostgres } from "../../support/postgres-server";
import { compilePrograms } from "./compiled-programs";

let server: TestPostgres;
let client: pg.Client;
let folder: string;
let file: string;
const printed: string[] = [];

beforeAll(async () => {
  server = await startPostgres();
  client = await server.client();
  await client.query(`
    CREATE TYPE public.status AS ENUM ('open', 'paid', 'it''s "odd"');
    CREATE DOMAIN public.money_amount AS numeric(12,2) NOT NULL;
    CREATE COLLATION public.german (provider = libc, locale = 'C');
    CREATE TABLE public.orders (
      id bigint PRIMARY KEY, status public.status NOT NULL, total numeric(12,2), note text, tag text COLLATE public.german,
      placed timestamptz NOT NULL, day date, active boolean, amount public.money_amount, lines int[],
      doubled numeric GENERATED ALWAYS AS (total * 2) STORED, few smallint, score real, ref uuid, bytes bytea, at timestamp);
    COMMENT ON TABLE public.orders IS E'What */ was ordered\\nby whom';
    COMMENT ON COLUMN public.orders.note IS 'free text';
    CREATE TABLE public.customer (id int, region int, name varchar(40) NOT NULL, PRIMARY KEY (region, id));
    CREATE SCHEMA "odd schema";
    CREATE TABLE "odd schema"."select" ("a ""b"" \\ c" int, "class" text, "__proto__" text, "\u2028" int);
    CREATE TABLE "odd schema"."__proto__" (id int);
    CREATE TABLE "odd schema".empty ();
    CREATE TABLE public.event (id int, day date) PARTITION BY RANGE (day);
    CREATE TABLE public.event_2026 PARTITION OF public.event FOR VALUES FROM ('2026-01-01') TO ('2027-01-01');
    CREATE UNLOGGED TABLE public.scratch (id int);
    CREATE VIEW public.seen AS SELECT 1 AS id`);
  folder = mkdtempSync(join(tmpdir(), "sluice-codegen-"));
  file = join(folder, "tables.ts");
  vi.spyOn(process.stdout, "write").mockImplementation((text) => printed.push(String(text)) > 0);
});

afterAll(async () => {
  vi.restoreAllMocks();
  await client?.end();
  await server?.stop();
  if (folder !== undefined) rmSync(folder, { recursive: true, force: true });
});

async function run(...argv: string[]): Promise<{ code: number; text: string }> {
  printed.length = 0;
  const from = `postgres://${server.user}@${server.host}:${server.port}/${server.database}`;
  const code = await codegen.run(["--from", from, "--password-env", server.passwordEnv, ...argv]);
  const text = printed.join("");
  expect(text).not.toContain(server.password);
  return { code, text };
}

/** The catalogue of a module, evaluated. */
function evaluate(text: string): Record<string, Record<string, { columns: object; key: string[]; kind: string }>> {
  const body = text.replace(/^import .*$/m, "").replace("export const catalog =", "return");
  return new Function(body.replace("} as const satisfies Catalog;", "};"))();
}

describe("the module", () => {
  it("has the tables that can be published, by whatever name", async () => {
    const { code, text } = await run();
    expect(code).toBe(0);
    const catalog = evaluate(text);
    expect(Object.keys(catalog)).toEqual(["odd schema", "public"]);
    expect(Object.keys(catalog["odd schema"])).toEqual(["__proto__", "empty", "select"]);
    expect(Object.keys(catalog["odd schema"].select.columns)).toEqual(["__proto__", 'a "b" \\ c', "class", "\u2028"]);
    expect(Object.keys(catalog.public)).toEqual(["customer", "event", "orders"]);
    expect(catalog.public.customer.key).toEqual(["region", "id"]);
    expect(catalog.public.event.kind).toBe("partitioned");
    expect(catalog.public.orders.columns).toMatchObject({
      id: { type: "bigint", value: "bigint", nullable: false },
      status: { type: "public.status", value: "enum", labels: ["open", "paid", `it's "odd"`], nullable: false },
      total: { type: "numeric(12,2)", value: "numeric", nullable: true },
      tag: { value: "text", unfilterable: "its collation is user-defined" },
      amount: { value: "numeric", nullable: false, unfilterable: "its type is user-defined" },
      doubled: { unfilterable: "it is generated" },
      lines: { type: "integer[]", value: "other" },
    });
    expect(Object.hasOwn(catalog.public.orders.columns, "__proto__")).toBe(false);
  });

  it("knows a virtual generated column, and a stored one before PostgreSQL 18, as none that is published", () => {
    const column = { type: "int4", baseOid: 23, baseKind: "b", isUserDefined: false, hasOwnCollation: false };
    const rest = { nullable: true, labels: null, comment: null };
    const columns = [
      { name: "s", generated: "s", ...column, ...rest },
      { name: "v", generated: "v", ...column, ...rest },
    ];
    const table = { schema: "public", name: "t", kind: "table", comment: null, key: [], columns } as const;
    const published = (major: number) =>
      Object.entries(evaluate(catalogSource([{ ...table, key: [], columns }], major)).public.t.columns).flatMap(
        ([name, { unpublishable }]) => (unpublishable === true ? [] : name),
      );
    expect([published(17), published(18)]).toEqual([[], ["s"]]);
  });

  it("has partitions where they are asked for, and only the schemas that are", async () => {
    const { text } = await run("--partitions", "--schema", "public");
    const catalog = evaluate(text);
    expect(Object.keys(catalog)).toEqual(["public"]);
    expect(catalog.public.event_2026.kind).toBe("partition");
    await expect(run("--schema", "Public")).rejects.toThrow('schema "Public" does not exist');
  });

  it("is the same whatever order columns were made in", async () => {
    await client.query("CREATE SCHEMA twin; CREATE TABLE twin.t (b int, a text)");
    const before = (await run("--schema", "twin")).text;
    await client.query("DROP TABLE twin.t; CREATE TABLE twin.t (gone int, a text, b int)");
    await client.query("ALTER TABLE twin.t DROP COLUMN gone");
    expect((await run("--schema", "twin")).text).toBe(before);
    await client.query("DROP SCHEMA twin CASCADE");
  });
});

describe("--out and --check", () => {
  it("write what differs, and tell what is stale", async () => {
    expect(await run("--out", file, "--check")).toMatchObject({ code: 1, text: expect.stringContaining("not exist") });
    expect(await run("--out", file)).toMatchObject({ code: 0, text: `${file} written: 6 tables\n` });
    const { mtimeMs } = statSync(file);
    expect(await run("--out", file)).toMatchObject({ code: 0, text: `${file} has the source's 6 tables\n` });
    expect(statSync(file).mtimeMs).toBe(mtimeMs);
    expect((await run("--out", file, "--check")).code).toBe(0);

    await client.query("ALTER TABLE public.customer ADD COLUMN mail text");
    const stale = await run("--out", file, "--check");
    expect(stale).toMatchObject({
      code: 1,
      text: expect.stringMatching(/is stale from its line \d+ on\n {2}remedy: /),
    });
    const asJson = JSON.parse((await run("--out", file, "--check", "--json")).text);
    expect(asJson).toEqual({ file, tables: 6, differs: true, written: false });
    expect(readFileSync(file, "utf8")).not.toContain("mail");
    await client.query("ALTER TABLE public.customer DROP COLUMN mail");
    expect((await run("--out", file, "--check")).code).toBe(0);
    writeFileSync(file, "");
    expect((await run("--out", file, "--check")).code).toBe(1);
  });

  it("refuse what makes no sense", async () => {
    await expect(run("--check")).rejects.toThrow("need --out FILE");
    await expect(run("--out", folder)).rejects.toThrow("can't be used");
  });
});

const program = (body: string, imports = "and, eq, gt, like, oneOf, table, tableOptions") => `
  import { ${imports} } from "pulumi-sluice";
  import { catalog } from "./tables";
  const { orders, customer } = catalog.public;
  ${body}`;

/** Programs that don't compile, with what the compiler says. */
const wrong: Record<string, [string, RegExp]> = {
  "no such table": ["table(catalog.public.order)", /Property 'order' does not exist.*Did you mean 'orders'/s],
  "no such schema": ["table(catalog.sales.orders)", /Property 'sales' does not exist/],
  "no such column in a list": ['table(orders, { columns: ["id", "totl"] })', /'"totl"' is not assignable.*"total"/s],
  "no such column in a filter": ["table(orders, { where: (o) => gt(o.totl, 1) })", /'totl' does not exist/],
  "text compared with a number": [
    "table(orders, { where: (o) => eq(o.note, 1) })",
    /'number' is not assignable to parameter of type 'Operand<.*"text">'/s,
  ],
  "a number compared with text": [
    'table(orders, { where: (o) => eq(o.total, "much") })',
    /'"much"' is not assignable to parameter of type 'Operand<.*"numeric">'/s,
  ],
  "a time compared with a number": ["table(orders, { where: (o) => gt(o.placed, 1) })", /'number' is not assignable/],
  "a boolean compared with text": ['table(orders, { where: (o) => eq(o.active, "t") })', /"t"' is not assignable/],
  "one wrong value of several": [
    'table(orders, { where: (o) => oneOf(o.few, [1, "2"]) })',
    /'string' is not assignable/,
  ],
  "a pattern for a number": ['table(orders, { where: (o) => like(o.total, "1%") })', /'"numeric"' is not assignable/],
  "an enum in a filter": [
    'table(orders, { where: (o) => eq(o.status, "paid") })',
    /ColumnWithoutFilter<"its type is user-defined">/,
  ],
  "a domain in a filter": ["table(orders, { where: (o) => gt(o.amount, 1) })", /"its type is user-defined"/],
  "a collation in a filter": ['table(orders, { where: (o) => eq(o.tag, "a") })', /"its collation is user-defined"/],
  "a generated column in a filter": ["table(orders, { where: (o) => gt(o.doubled, 1) })", /"it is generated"/],
  "an array in a filter": ["table(orders, { where: (o) => eq(o.lines, 1) })", /OpaqueColumn/],
  "columns of unlike types": ["table(orders, { where: (o) => eq(o.total, o.note) })", /'"text"' is not assignable/],
  "a column of another table": [
    "table(customer, { where: (c) => { let id!: typeof c.id; table(orders, { where: (o) => gt(o.few, id) }); return gt(id, 1); } })",
    /"customer"' is not assignable to type '"orders"'/,
  ],
  "a condition of another table": [
    'const inner = () => { let c!: Parameters<NonNullable<Parameters<typeof table<typeof customer>>[1]["where"]>>[0]; return eq(c.name, "a"); }; table(orders, { where: (o) => and(gt(o.id, 1), inner()) })',
    /is not assignable/,
  ],
  "no condition at all": ["table(orders, { where: () => true })", /'boolean' is not assignable to type 'Condition</],
  "an option that isn't one": ['tableOptions(orders, { modus: "scd2" })', /'modus' does not exist/],
  "a hash of no column": ['tableOptions(orders, { hash: ["mail"] })', /'"mail"' is not assignable/],
  "a partition by a time": ['tableOptions(orders, { partitionBy: ["placed"] })', /'"placed"' is not assignable/],
  "a label that the enum lacks": ['const row: Pick<Row<typeof orders>, "status"> = { status: "lost" }; row', /"lost"/],
  "NULL where none can be": [
    'const row: Pick<Row<typeof orders>, "id"> = { id: null }; row',
    /'null' is not assignable/,
  ],
};

const right = `
  import * as sluice from "pulumi-sluice";
  import { PostgresIngestion, and, between, eq, ge, gt, isNotNull, isNull, le, like, lt, ne, not, oneOf, or, table, tableOptions, type Row } from "pulumi-sluice";
  import { catalog } from "./tables";
  const { orders, customer } = catalog.public;
  const odd = catalog["odd schema"].select;
  export const tables = [
    table(orders, {
      columns: ["id", "status", "total"],
      where: (o) => and(ge(o.total, "10.50"), or(isNull(o.lines), not(eq(o.note, "x"))), lt(o.total, o.id)),
    }),
    table(customer, { where: ({ name, region }) => and(like(name, "a%"), oneOf(region, [1, 2]), between(region, 1, 5)) }),
    table(orders, { where: (o) => and(gt(o.placed, new Date(0)), le(o.day, "2026-01-01"), ne(o.bytes, new Uint8Array(1)), isNotNull(o.ref), eq(o.few, 1), gt(o.id, 1n), eq(o.active, true), gt(o.score, 0.5)) }),
    table(odd, { columns: ["__proto__", 'a "b" \\\\ c', "\\u2028"] }),
  ];
  export const plain: sluice.Table = table(orders);
  export const options: sluice.TableOptionsArgs[] = [
    tableOptions(orders, { mode: "scd2", exclude: ["note"], partitionBy: ["day"], key: ["id"], clusterBy: ["placed"] }),
  ];
  type Order = Row<typeof orders>;
  export const row: Pick<Order, "status" | "total" | "id"> = { status: "paid", total: null, id: 1n };
  export const ingestion = () => new PostgresIngestion("x", {
    source: { host: "h", database: "d", user: "u" },
    tables: [table(orders), table(customer)],
    tableOptions: options,
    destination: { kind: "local", path: "/lake" },
    stateDir: "/state",
  });
`;

describe("the compiler", () => {
  it("takes what is right, and refuses what isn't, saying why", async () => {
    const { text } = await run("--schema", "public", "--schema", "odd schema");
    const numbered = Object.entries(wrong).map(([name, [body, expected]], index) => {
      const imports = body.includes("Row<") ? "type Row" : undefined;
      return { name, expected, file: `wrong-${index}.ts`, text: program(body, imports) };
    });
    const found = compilePrograms({
      "tables.ts": text,
      "right.ts": right,
      ...Object.fromEntries(numbered.map((each) => [each.file, each.text])),
    });
    expect(found["tables.ts"]).toEqual([]);
    expect(found["right.ts"]).toEqual([]);
    const said = numbered.map(({ name, file: path }) => `${name}: ${found[path].join("\n")}`);
    numbered.forEach(({ name, expected }, index) => {
      expect(said[index]).toMatch(expected);
      expect(said[index], name).not.toMatch(/Cannot find (module|name)/);
    });
  });
});
