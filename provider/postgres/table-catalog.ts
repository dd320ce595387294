import type { Client } from "pg";
import { SluiceError } from "../../runtime/errors";
import { quoteIdentifier } from "../../runtime/postgres/identifier";

export interface CatalogColumnFacts {
  name: string;
  /** format_type: `numeric(10,2)` */
  type: string;
  /** of the type, or of the one under a domain */
  baseOid: number;
  /** pg_type.typtype of that: `e` is an enum */
  baseKind: string;
  isUserDefined: boolean;
  hasOwnCollation: boolean;
  nullable: boolean;
  /** pg_attribute.attgenerated: `s` stored, `v` virtual, else empty */
  generated: string;
  labels: string[] | null;
  comment: string | null;
}

export interface CatalogTableFacts {
  schema: string;
  name: string;
  kind: "table" | "partitioned" | "partition";
  comment: string | null;
  key: string[];
  columns: CatalogColumnFacts[];
}

/**
 * Ordinary and partitioned tables that can be published, with all their columns, in no particular order. It takes no lock
 * and no privilege (PostgreSQL documentation, chapter 53).
 * @param schemas null: all but the system's
 * @throws SluiceError `missing-object` for a schema that isn't there
 */
export async function readTableCatalog(client: Client, schemas: string[] | null): Promise<CatalogTableFacts[]> {
  if (schemas !== null) await requireSchemas(client, schemas);
  const { rows } = await client.query<CatalogTableFacts>(
    `WITH RECURSIVE resolved (oid, base, typtype, typbasetype, isnotnull) AS (
       SELECT oid, oid, typtype, typbasetype, typnotnull FROM pg_catalog.pg_type
       UNION ALL
       SELECT r.oid, t.oid, t.typtype, t.typbasetype, r.isnotnull OR t.typnotnull
         FROM resolved r JOIN pg_catalog.pg_type t ON t.oid = r.typbasetype WHERE r.typtype = 'd'
     )
     SELECT n.nspname AS schema, c.relname AS name, pg_catalog.obj_description(c.oid, 'pg_class') AS comment,
            CASE WHEN c.relkind = 'p' AND NOT c.relispartition THEN 'partitioned'
                 WHEN c.relispartition THEN 'partition' ELSE 'table' END AS kind,
            coalesce((SELECT json_agg(k.attname ORDER BY position.n)
                        FROM pg_catalog.pg_index i
                        CROSS JOIN LATERAL unnest(i.indkey) WITH ORDINALITY AS position (attnum, n)
                        JOIN pg_catalog.pg_attribute k ON k.attrelid = c.oid AND k.attnum = position.attnum
                       WHERE i.indrelid = c.oid AND i.indisprimary AND position.n <= i.indnkeyatts), '[]') AS key,
            coalesce((SELECT json_agg(json_build_object(
                        'name', a.attname,
                        'type', pg_catalog.format_type(a.atttypid, a.atttypmod),
                        'baseOid', r.base::bigint,
                        'baseKind', r.typtype,
                        -- FirstNormalObjectId
                        'isUserDefined', a.atttypid >= 16384::oid,
                        'hasOwnCollation', a.attcollation >= 16384::oid,
                        'nullable', NOT (a.attnotnull OR r.isnotnull),
                        'generated', a.attgenerated,
                        'labels', (SELECT json_agg(e.enumlabel ORDER BY e.enumsortorder)
                                     FROM pg_catalog.pg_enum e WHERE e.enumtypid = r.base),
                        'comment', pg_catalog.col_description(c.oid, a.attnum)))
                        FROM pg_catalog.pg_attribute a
                        JOIN resolved r ON r.oid = a.atttypid AND r.typtype <> 'd'
                       WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped), '[]') AS columns
       FROM pg_catalog.pg_class c
       JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
      WHERE c.relkind IN ('r', 'p') AND c.relpersistence = 'p'
        AND n.nspname NOT LIKE 'pg\\_%' AND n.nspname <> 'information_schema'
        AND ($1::text[] IS NULL OR n.nspname = ANY ($1))`,
    [schemas],
  );
  return rows;
}

async function requireSchemas(client: Client, schemas: string[]): Promise<void> {
  const { rows } = await client.query<{ name: string }>(
    "SELECT name FROM unnest($1::text[]) AS name WHERE name NOT IN (SELECT nspname FROM pg_catalog.pg_namespace)",
    [schemas],
  );
  if (rows.length === 0) return;
  throw new SluiceError("missing-object", `schema ${quoteIdentifier(rows[0].name)} does not exist`, {
    remedy: "Correct its name: names are case-sensitive.",
  });
}
