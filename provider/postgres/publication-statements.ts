import type { Client } from "pg";
import { quoteIdentifier, quoteLiteral, quoteTable } from "../../runtime/postgres/identifier";
import { publishedRelationsSql } from "../../runtime/postgres/published-relations";
import { readServerVersion } from "../../runtime/postgres/server-version";
import type { Operation, PublicationOptions, PublishedTable } from "./publication-definition";
import { ownershipMark } from "./publication-mark";
import { whereClause } from "./row-filter";
import type { TableName } from "./table-inspection";

/** A publication as the catalog holds it; its row filters as pg_get_expr writes them. */
export interface PublicationFacts extends PublicationOptions {
  oid: string;
  name: string;
  comment: string | null;
  owner: string;
  /** our role is its owner, a member of it, or a superuser */
  owned: boolean;
  allTables: boolean;
  schemas: string[];
  tables: PublishedTable[];
}

/** By name, or by the pipeline id of its mark where no name is known; `null` when there is none. */
export async function readPublication(
  client: Client,
  by: { name: string } | { pipelineId: string },
): Promise<PublicationFacts | null> {
  const condition =
    "name" in by ? "p.pubname = $1" : "split_part(pg_catalog.obj_description(p.oid, 'pg_publication'), ' ', 1) = $1";
  const { rows } = await client.query<Omit<PublicationFacts, "tables" | "schemas">>(
    `SELECT p.oid::text, p.pubname AS name, pg_catalog.obj_description(p.oid, 'pg_publication') AS comment,
            pg_catalog.pg_get_userbyid(p.pubowner) AS owner, pg_has_role(p.pubowner, 'USAGE') AS owned,
            p.puballtables AS "allTables",
            array_remove(ARRAY[CASE WHEN p.pubinsert THEN 'insert' END, CASE WHEN p.pubupdate THEN 'update' END,
              CASE WHEN p.pubdelete THEN 'delete' END, CASE WHEN p.pubtruncate THEN 'truncate' END], NULL) AS operations,
            p.pubviaroot AS "viaPartitionRoot",
            CASE to_jsonb(p) ->> 'pubgencols' WHEN 's' THEN 'stored' ELSE 'none' END AS "generatedColumns"
       FROM pg_catalog.pg_publication p WHERE ${condition}`,
    ["name" in by ? by.name : ownershipMark(by.pipelineId)],
  );
  const row = rows[0];
  if (row === undefined) return null;
  const hasLists = (await readServerVersion(client)) >= 150_000;
  const schemas = hasLists
    ? await client.query<{ name: string }>(
        `SELECT n.nspname AS name FROM pg_catalog.pg_publication_namespace s
           JOIN pg_catalog.pg_namespace n ON n.oid = s.pnnspid WHERE s.pnpubid = $1::oid ORDER BY 1`,
        [row.oid],
      )
    : { rows: [] };
  const restrictions = hasLists
    ? `pg_catalog.pg_get_expr(r.prqual, r.prrelid) AS "where",
       (SELECT array_agg(a.attname::text ORDER BY a.attnum) FROM pg_catalog.pg_attribute a
         WHERE a.attrelid = r.prrelid AND a.attnum = ANY (r.prattrs::int2[])) AS columns`
    : `NULL::text AS "where", NULL::text[] AS columns`;
  const tables = await client.query<TableName & { where: string | null; columns: string[] | null }>(
    `SELECT n.nspname AS schema, c.relname AS name, ${restrictions}
       FROM pg_catalog.pg_publication_rel r
       JOIN pg_catalog.pg_class c ON c.oid = r.prrelid
       JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
      WHERE r.prpubid = $1::oid ORDER BY 1, 2`,
    [row.oid],
  );
  return {
    ...row,
    schemas: schemas.rows.map(({ name }) => name),
    tables: tables.rows.map(({ schema, name, where, columns }) => ({
      schema,
      name,
      ...(columns === null ? {} : { columns }),
      ...(where === null ? {} : { where }),
    })),
  };
}

/** Adds, drops and options in an order that the server takes; each part that is absent stays. */
export interface Alteration {
  dropTables: TableName[];
  dropSchemas: string[];
  options: PublicationOptions | null;
  addTables: PublishedTable[];
  addSchemas: string[];
}

export function isEmpty({ dropTables, dropSchemas, options, addTables, addSchemas }: Alteration): boolean {
  return options === null && [dropTables, dropSchemas, addTables, addSchemas].every((list) => list.length === 0);
}

/** Pure. @param version server_version_num */
export function createPublicationSql(name: string, allTables: boolean, options: PublicationOptions, version: number) {
  const what = allTables ? " FOR ALL TABLES" : "";
  return `CREATE PUBLICATION ${quoteIdentifier(name)}${what} WITH (${optionsClause(options, version)})`;
}

/**
 * Pure. What is dropped and added again has a gap, which a gateway knows by the catalog's row identities: it copies that
 * table again. So it does with all tables where options are altered.
 */
export function alterPublicationSql(name: string, alteration: Alteration, version: number): string[] {
  const { dropTables, dropSchemas, options, addTables, addSchemas } = alteration;
  const alter = `ALTER PUBLICATION ${quoteIdentifier(name)}`;
  const schemas = (list: readonly string[]) => `TABLES IN SCHEMA ${list.map(quoteIdentifier).join(", ")}`;
  return [
    ...(dropTables.length === 0 ? [] : [`${alter} DROP TABLE ${dropTables.map(quoteTable).join(", ")}`]),
    ...(dropSchemas.length === 0 ? [] : [`${alter} DROP ${schemas(dropSchemas)}`]),
    ...(options === null ? [] : [`${alter} SET (${optionsClause(options, version)})`]),
    ...(addTables.length === 0 ? [] : [`${alter} ADD TABLE ${addTables.map(tableClause).join(", ")}`]),
    ...(addSchemas.length === 0 ? [] : [`${alter} ADD ${schemas(addSchemas)}`]),
  ];
}

function tableClause(table: PublishedTable): string {
  const columns = table.columns === undefined ? "" : ` (${table.columns.map(quoteIdentifier).join(", ")})`;
  return `${quoteTable(table)}${columns}${table.where === undefined ? "" : ` ${whereClause(table.where)}`}`;
}

function optionsClause(
  { operations, viaPartitionRoot, generatedColumns }: PublicationOptions,
  version: number,
): string {
  const publish = operations satisfies Operation[];
  const generated = version < 180_000 ? "" : `, publish_generated_columns = ${generatedColumns}`;
  return `publish = ${quoteLiteral(publish.join(", "))}, publish_via_partition_root = ${viaPartitionRoot}${generated}`;
}

export async function runStatements(client: Client, statements: readonly string[]): Promise<void> {
  // The extended protocol takes one statement each, whatever a row filter holds.
  for (const text of statements) await client.query({ text, queryMode: "extended" } as { text: string });
}

export async function dropPublication(client: Client, name: string): Promise<void> {
  await client.query(`DROP PUBLICATION IF EXISTS ${quoteIdentifier(name)}`);
}

/** Which of the tables some publication (of anyone, but for `except`) publishes. */
export async function publishedElsewhere(
  client: Client,
  tables: readonly TableName[],
  except = "",
): Promise<Set<string>> {
  const version = await readServerVersion(client);
  const { rows } = await client.query<TableName>(
    `SELECT DISTINCT n.nspname AS schema, c.relname AS name
       FROM pg_catalog.pg_publication o
       CROSS JOIN LATERAL (${publishedRelationsSql(version, "o.pubname")}) t
       JOIN pg_catalog.pg_class c ON c.oid = t.relid
       JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
       JOIN unnest($1::text[], $2::text[]) AS wanted (schema, name)
         ON wanted.schema = n.nspname AND wanted.name = c.relname
      WHERE o.pubname <> $3`,
    [tables.map((table) => table.schema), tables.map((table) => table.name), except],
  );
  return new Set(rows.map(quoteTable));
}
