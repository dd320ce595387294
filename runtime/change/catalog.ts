import type { Client } from "pg";
import type { TypeOptions } from "../config";
import { SluiceError } from "../errors";
import { encodingProblem } from "../postgres/encoding";
import { quoteIdentifier, quoteTable } from "../postgres/identifier";
import { publishedRelationsSql } from "../postgres/published-relations";
import { readServerVersion } from "../postgres/server-version";
import { pinnedSessionSettings } from "../postgres/session-settings";
import { ddlCaptureNames, type ElementDescription, elementSql, fileNodeSql } from "../postgres/table-description";
import { membershipSql } from "./publication-membership";
import type { ColumnSchema, TableOrigin, TableSchema } from "./table-schema";
import { keptAs, moneyOid } from "./types";

export interface CatalogTable {
  schema: Omit<TableSchema, "schemaId">;
  /** pg_class.reltuples; -1 when never analyzed */
  rowsEstimate: number;
  /** the publication's condition on rows, with all names qualified; null for all rows */
  rowFilter: string | null;
  /** see membershipSql */
  membership: string;
  /** columns of the merge key's index, published or not; 0 without a key */
  keyLength: number;
}

interface ColumnRow {
  tableId: string;
  schema: string;
  name: string;
  replicaIdentity: "d" | "f" | "i" | "n";
  rowsEstimate: number;
  rowFilter: string | null;
  membership: string;
  /** columns of the key's index; null without one */
  keyLength: number | null;
  attributeNumber: number;
  column: string;
  typeOid: number;
  typeModifier: number;
  typeName: string;
  baseTypeOid: number;
  baseTypeModifier: number;
  isDomain: boolean;
  element: ElementDescription | null;
  keyOrdinal: number | null;
  fileNode: number;
  primaryKeyOid: number;
  attributeCount: number;
  ddlCapture: string | null;
  xid: number;
}

/**
 * The published tables of the catalog as this session's snapshot sees them, with the columns that pgoutput sends.
 * The merge key is the index of REPLICA IDENTITY USING INDEX, else the primary key. A deferrable primary key is none:
 * within a transaction two rows may have one key. Where a table has a row filter it is waited for who alters the table.
 * @throws SluiceError `unsupported` when the database doesn't know its texts' encoding
 */
export async function readTableSchemas(
  client: Client,
  publication: string,
  types: TypeOptions,
  tableId: string | null = null,
): Promise<CatalogTable[]> {
  const version = await readServerVersion(client);
  await requireEncoding(client);
  const { end, drop } = ddlCaptureNames(publication);
  const { rows } = await client.query<ColumnRow>(
    `WITH RECURSIVE base AS (
       SELECT oid, oid AS base_oid, -1 AS base_modifier, typtype FROM pg_catalog.pg_type
       UNION ALL
       SELECT base.oid, d.typbasetype, d.typtypmod, b.typtype
         FROM base
         JOIN pg_catalog.pg_type d ON d.oid = base.base_oid AND d.typtype = 'd'
         JOIN pg_catalog.pg_type b ON b.oid = d.typbasetype
     )
     SELECT c.oid::text AS "tableId", n.nspname AS schema, c.relname AS name, c.relreplident::text AS "replicaIdentity",
            c.reltuples::float8 AS "rowsEstimate", pg_catalog.pg_get_expr(t.filter, t.relid) AS "rowFilter",
            ${membershipSql(version, "$1", "c.oid")} AS membership, key.length AS "keyLength",
            a.attnum::int AS "attributeNumber", a.attname AS column,
            a.atttypid::int8::float8 AS "typeOid", a.atttypmod AS "typeModifier",
            pg_catalog.format_type(a.atttypid, a.atttypmod) AS "typeName",
            base.base_oid::int8::float8 AS "baseTypeOid", base.base_modifier AS "baseTypeModifier",
            y.typtype = 'd' AS "isDomain", (${elementSql("a.atttypid")}) AS element, k.ordinal::int AS "keyOrdinal", (${fileNodeSql})::float8 AS "fileNode",
            coalesce((SELECT o.oid::int8::float8 FROM pg_catalog.pg_constraint o
                       WHERE o.conrelid = c.oid AND o.contype = 'p' AND NOT o.condeferrable), 0) AS "primaryKeyOid",
            c.relnatts::int AS "attributeCount", a.xmin::text::float8 AS xid,
            (SELECT string_agg(e.oid::text || ':' || e.xmin::text, ',' ORDER BY e.oid)
               FROM pg_catalog.pg_event_trigger e
              WHERE e.evtname::text = ANY ($2::text[]) AND e.evtenabled = 'A' HAVING count(*) = 2) AS "ddlCapture"
       FROM (${publishedRelationsSql(version, "$1")}) t
       JOIN pg_catalog.pg_class c ON c.oid = t.relid
       JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
       JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
            AND CASE WHEN t.columns IS NOT NULL THEN a.attnum = ANY (t.columns)
                     ELSE a.attgenerated = '' OR a.attgenerated = 's' AND t.generated END
       JOIN pg_catalog.pg_type y ON y.oid = a.atttypid
       JOIN base ON base.oid = a.atttypid AND base.typtype <> 'd'
       LEFT JOIN LATERAL (
         SELECT i.indexrelid, i.indnkeyatts::int AS length FROM pg_catalog.pg_index i
          WHERE i.indrelid = c.oid AND i.indisvalid AND i.indimmediate
            AND CASE WHEN c.relreplident = 'i' THEN i.indisreplident ELSE i.indisprimary END
          LIMIT 1
       ) key ON true
       LEFT JOIN LATERAL (
         SELECT u.ordinal FROM pg_catalog.pg_index i,
                LATERAL unnest(i.indkey::int2[]) WITH ORDINALITY AS u(attnum, ordinal)
          WHERE i.indexrelid = key.indexrelid AND u.ordinal <= i.indnkeyatts AND u.attnum = a.attnum
       ) k ON true
      WHERE $3::oid IS NULL OR c.oid = $3::oid
      ORDER BY c.oid, a.attnum`,
    [publication, [end, drop], tableId],
  );
  const moneyDigits = rows.some((row) => (row.element?.oid ?? row.baseTypeOid) === moneyOid)
    ? await readMoneyDigits(client)
    : 2;
  const tables = new Map<string, CatalogTable>();
  for (const row of rows) {
    let table = tables.get(row.tableId);
    if (table === undefined) {
      const { tableId, schema, name, replicaIdentity, rowsEstimate, rowFilter, membership } = row;
      const { fileNode, primaryKeyOid, attributeCount, ddlCapture } = row;
      const origin = { fileNode, primaryKeyOid, attributeCount, columnXids: {}, ddlCapture };
      table = {
        schema: { version: 1, tableId, schema, name, replicaIdentity, columns: [], origin },
        rowsEstimate,
        rowFilter,
        membership,
        keyLength: row.keyLength ?? 0,
      };
      tables.set(tableId, table);
    }
    const { attributeNumber: number, column: name, typeOid, typeModifier, typeName, element, keyOrdinal } = row;
    const baseType = row.isDomain ? { oid: row.baseTypeOid, typeModifier: row.baseTypeModifier } : undefined;
    const column = columnOf({ number, name, typeOid, typeModifier, typeName, baseType, element }, types, moneyDigits);
    table.schema.columns.push({ ...column, keyOrdinal });
    (table.schema.origin as TableOrigin).columnXids[String(number)] = row.xid;
  }
  return [...tables.values()];
}

/** @throws SluiceError `unsupported` when the database doesn't know its texts' encoding */
export async function requireEncoding(client: Client): Promise<void> {
  const { rows } = await client.query<{ encoding: string }>(
    "SELECT pg_catalog.current_setting('server_encoding') AS encoding",
  );
  const problem = encodingProblem(rows[0].encoding);
  if (problem !== null) throw new SluiceError("unsupported", problem.message, { remedy: problem.remedy });
}

/** Digits after the point that money has by the lc_monetary of server, database or role. */
export async function readMoneyDigits(client: Client): Promise<number> {
  await client.query("RESET lc_monetary");
  const { rows } = await client.query<{ one: Buffer }>("SELECT pg_catalog.cash_send(1::numeric::money) AS one");
  await client.query("SELECT pg_catalog.set_config('lc_monetary', $1, false)", [pinnedSessionSettings.lc_monetary]);
  return String(rows[0].one.readBigInt64BE()).length - 1;
}

/** A column as the catalog or a RELATION message has it. */
export interface ColumnType {
  number: number;
  name: string;
  typeOid: number;
  typeModifier: number;
  typeName: string;
  baseType?: { oid: number; typeModifier: number };
  element?: ElementDescription | null;
}

/** pg_type.oid of a column's values: under a domain, and of an array's elements. */
export function valueTypeOid({ typeOid, baseType, element }: ValueType): number {
  return element?.oid ?? baseType?.oid ?? typeOid;
}
interface ValueType {
  typeOid: number;
  baseType?: { oid: number } | null;
  element?: { oid: number } | null;
}

/** @param moneyDigits see `readMoneyDigits` */
export function columnOf(
  column: ColumnType,
  types: TypeOptions,
  moneyDigits: number,
): Omit<ColumnSchema, "keyOrdinal"> {
  const { number, name, typeOid, typeModifier, typeName, baseType } = column;
  const source = {
    typeOid,
    typeModifier,
    ...(baseType === undefined ? {} : { baseType }),
    ...(column.element ? { element: elementOf(column.element, baseType?.typeModifier ?? typeModifier) } : {}),
    ...(valueTypeOid(column) === moneyOid && moneyDigits !== 2 ? { moneyDigits } : {}),
  };
  return { attributeNumber: number, name, physicalName: `c${number}`, ...source, typeName, ...keptAs(source, types) };
}

function elementOf(element: ElementDescription, arrayModifier: number): NonNullable<ColumnSchema["element"]> {
  const { oid, delimiter } = element;
  const typeModifier = element.typeModifier === -1 ? arrayModifier : element.typeModifier;
  return { oid, typeModifier, ...(delimiter === "," ? {} : { delimiter }) };
}

/** @throws SluiceError `unsupported` when the publication's column list leaves out a part of the key */
export function assertKeyPublished({ schema, keyLength }: CatalogTable): void {
  const published = schema.columns.filter((column) => column.keyOrdinal !== null).length;
  if (published === keyLength) return;
  throw new SluiceError(
    "unsupported",
    `${schema.schema}.${schema.name}: the publication's column list leaves out columns of its key (${published} of ${keyLength} are in it)`,
    { remedy: "Put every column of the primary key, or of the replica identity's index, into the column list." },
  );
}

/** @throws SluiceError `unsupported` when its columns can't be one Delta table, or its deletes don't tell the row */
export function assertCarried(schema: Omit<TableSchema, "schemaId">): void {
  const isTold = schema.replicaIdentity === "f" || schema.columns.some((column) => column.keyOrdinal !== null);
  if (schema.replicaIdentity === "n" || !isTold) {
    const table = quoteTable(schema);
    throw new SluiceError(
      "unsupported",
      `${schema.schema}.${schema.name}: its replica identity is ${schema.replicaIdentity === "n" ? "NOTHING" : "of no use, as it has no key that isn't deferrable"}: updates and deletes don't tell which row they change`,
      { remedy: `Run ALTER TABLE ${table} REPLICA IDENTITY FULL (or DEFAULT, with a primary key).` },
    );
  }
  const byName = new Map<string, string>();
  for (const { name } of schema.columns) {
    // Delta and Spark take names without regard to case.
    const rival = byName.get(name.toLowerCase());
    if (rival !== undefined) {
      throw new SluiceError(
        "unsupported",
        `${schema.schema}.${schema.name}: columns ${quoteIdentifier(rival)} and ${quoteIdentifier(name)} differ in case only, which Delta can't hold`,
        { remedy: `Rename one of them, or take the table out of the publication.` },
      );
    }
    byName.set(name.toLowerCase(), name);
  }
}
