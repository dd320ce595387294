import type { Client, Connection, Submittable } from "pg";
import { quoteIdentifier, quoteTable } from "../../runtime/postgres/identifier";

/** A column of the source as the table of types in docs/tables.md promises it, told by the server itself. */
export interface SourceColumn {
  name: string;
  /** Delta's name of the type that the destination must have */
  deltaType: string;
  /** SQL whose text, in COPY's text format, is the value's canonical text (see canonical-value.ts) */
  expression: string;
  /** whether it is in the primary key */
  isKey: boolean;
}

/** How arrays are kept, as the gateway's option of this name. */
export type Arrays = "text" | "nested";

/** Every column that is replicated, in the source's order. */
export async function readSourceColumns(
  client: Client,
  table: { schema: string; name: string },
  arrays: Arrays = "text",
): Promise<SourceColumn[]> {
  const { rows } = await client.query<{
    name: string;
    type: string;
    modifier: number;
    element: string | null;
    elementModifier: number | null;
    is_key: boolean;
  }>(
    `WITH RECURSIVE base AS (
       SELECT a.attnum, a.attname, a.atttypid AS type, a.atttypmod AS modifier, a.attrelid
       FROM pg_attribute a
       WHERE a.attrelid = $1::regclass AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''
       UNION ALL
       SELECT base.attnum, base.attname, t.typbasetype, t.typtypmod, base.attrelid
       FROM base JOIN pg_type t ON t.oid = base.type WHERE t.typtype = 'd'),
     element AS (
       SELECT base.attnum, t.typelem AS type, base.modifier
       FROM base JOIN pg_type t ON t.oid = base.type AND t.typtype = 'b' AND t.typoutput = 'array_out'::regproc
       UNION ALL
       SELECT element.attnum, t.typbasetype, t.typtypmod
       FROM element JOIN pg_type t ON t.oid = element.type WHERE t.typtype = 'd')
     SELECT base.attname AS name, t.typname AS type, base.modifier, e.typname AS element,
       e.modifier AS "elementModifier",
       coalesce(base.attnum = ANY (i.indkey), false) AS is_key
     FROM base JOIN pg_type t ON t.oid = base.type AND t.typtype <> 'd'
     LEFT JOIN (SELECT element.*, t.typname FROM element JOIN pg_type t ON t.oid = element.type AND t.typtype <> 'd') e
       ON e.attnum = base.attnum
     LEFT JOIN pg_index i ON i.indrelid = base.attrelid AND i.indisprimary
     ORDER BY base.attnum`,
    [quoteTable(table)],
  );
  return rows.map((row) => ({
    name: row.name,
    isKey: row.is_key,
    ...(row.element === null || arrays === "text"
      ? mappingOf(row.type, row.modifier, quoteIdentifier(row.name))
      : arrayMapping(row.element, row.elementModifier ?? -1, quoteIdentifier(row.name))),
  }));
}

/** More dimensions than one are NULL; bounds don't count. */
function arrayMapping(elementType: string, modifier: number, column: string): Mapping {
  const { deltaType, expression } = mappingOf(elementType, modifier, `${column}[n]`);
  // format() gives an empty text for NULL; a composite of NULLs is one, and yet a value.
  const text = `CASE WHEN ${expression} IS DISTINCT FROM NULL
    THEN '"' || regexp_replace(format('%s', ${expression}), '(["\\\\])', '\\\\\\1', 'g') || '"' ELSE 'NULL' END`;
  return {
    deltaType: `array<${deltaType}>`,
    expression: `CASE WHEN ${column} IS NOT NULL AND coalesce(array_ndims(${column}), 1) = 1 THEN (
      SELECT '{' || coalesce(string_agg(${text}, ',' ORDER BY n), '') || '}' FROM generate_subscripts(${column}, 1) n) END`,
  };
}

type Mapping = Pick<SourceColumn, "deltaType" | "expression">;

/** The table of types in docs/tables.md, written down a second time; what a type can't hold is NULL. */
function mappingOf(typeName: string, modifier: number, column: string): Mapping {
  switch (typeName) {
    case "int2":
      return { deltaType: "short", expression: column };
    case "int4":
      return { deltaType: "integer", expression: column };
    case "int8":
      return { deltaType: "long", expression: column };
    case "oid":
      return { deltaType: "decimal(10,0)", expression: column };
    case "numeric":
      return numericMapping(modifier, column);
    case "float4":
      return { deltaType: "float", expression: `encode(float4send(${column}), 'hex')` };
    case "float8":
      return { deltaType: "double", expression: `encode(float8send(${column}), 'hex')` };
    case "money":
      return { deltaType: "double", expression: `encode(float8send(${column}::numeric::float8), 'hex')` };
    case "bool":
      return { deltaType: "boolean", expression: `${column}::text` };
    case "date":
      return { deltaType: "date", expression: inCalendar(column, `${column} - date '1970-01-01'`) };
    case "timestamp":
      return { deltaType: "timestamp_ntz", expression: inCalendar(column, micros(column)) };
    case "timestamptz":
      return { deltaType: "timestamp", expression: inCalendar(column, micros(column)) };
    case "bytea":
      return { deltaType: "binary", expression: `encode(${column}, 'hex')` };
    case "uuid":
      return { deltaType: "binary", expression: `encode(uuid_send(${column}), 'hex')` };
    case "bit":
    case "varbit":
      return { deltaType: "binary", expression: `encode(convert_to(${column}::text, 'UTF8'), 'hex')` };
    default:
      return { deltaType: "string", expression: column };
  }
}

function micros(column: string): string {
  return `(extract(epoch FROM ${column}) * 1000000)::bigint`;
}

/** Years 1 to 9999, and no infinity. */
function inCalendar(column: string, value: string): string {
  return `CASE WHEN ${column} >= '0001-01-01' AND ${column} < '10000-01-01' THEN ${value} END`;
}

function numericMapping(modifier: number, column: string): Mapping {
  if (modifier < 4) {
    const fits = `abs(${column}) < 1e20 AND scale(trim_scale(${column})) <= 18`;
    return { deltaType: "decimal(38,18)", expression: `CASE WHEN ${fits} THEN ${column}::numeric(38,18) END` };
  }
  const declared = ((modifier - 4) >> 16) & 0xffff;
  const field = (modifier - 4) & 0x7ff;
  const scale = field >= 1024 ? field - 2048 : field;
  const precision = scale < 0 ? declared - scale : Math.max(declared, scale);
  if (precision > 38) return { deltaType: "string", expression: column };
  // NaN is greater than every number.
  return {
    deltaType: `decimal(${precision},${Math.max(scale, 0)})`,
    expression: `CASE WHEN ${column} < 'NaN' THEN ${column} END`,
  };
}

/** Gives `onRow` every row of the query as a line of COPY's text format, without its end; valid during the call only. */
export async function copyRows(client: Client, query: string, onRow: (line: Buffer) => void): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    client.query(new CopyRows(`COPY (${query}) TO STDOUT`, onRow, resolve, reject));
  });
}

class CopyRows implements Submittable {
  private failure: Error | null = null;

  constructor(
    private readonly sql: string,
    private readonly onRow: (line: Buffer) => void,
    private readonly resolve: () => void,
    private readonly reject: (error: Error) => void,
  ) {}

  submit(connection: Connection): void {
    connection.query(this.sql);
  }

  handleCopyData({ chunk }: { chunk: Buffer }): void {
    if (this.failure !== null) return;
    try {
      this.onRow(chunk.subarray(0, chunk.length - 1));
    } catch (error) {
      this.failure = error as Error;
    }
  }

  handleError(error: Error): void {
    this.reject(error);
  }

  handleCommandComplete(): void {}

  handleReadyForQuery(): void {
    if (this.failure === null) this.resolve();
    else this.reject(this.failure);
  }
}
