import type { Client } from "pg";
import { z } from "zod";

/** The type of an array's elements, see `elementSql`. */
export const elementDescriptionSchema = z.object({
  oid: z.int(),
  typeModifier: z.int(),
  delimiter: z.string(),
});
export type ElementDescription = z.infer<typeof elementDescriptionSchema>;

/**
 * One table as the catalog holds it, dropped columns included: made by one SQL expression, which the gateway runs and
 * which the event triggers of `captureDdl` run at each DDL.
 */
const attributeSchema = z.object({
  number: z.int().min(1),
  dropped: z.boolean(),
  /** whether the publication sends it */
  published: z.boolean(),
  name: z.string(),
  /** 0 of a dropped column */
  typeOid: z.int(),
  typeModifier: z.int(),
  typeName: z.string(),
  /** of a domain: the type under it */
  baseType: z.object({ oid: z.int(), typeModifier: z.int() }).nullable(),
  /** of an array: see elementSql; absent in messages of event triggers that are older than it */
  element: elementDescriptionSchema.nullish(),
  /** attlen, attbyval and attalign: kept when the column is dropped */
  layout: z.string(),
  /** pg_attribute.xmin */
  xid: z.int(),
  /** value of rows that are older than the column (pg_attribute.attmissingval), as text */
  missing: z.string().nullable(),
  /** partitions have different ones */
  missingDiffers: z.boolean(),
  /** 1-based position in the primary key, and in the index of REPLICA IDENTITY USING INDEX */
  primaryKeyOrdinal: z.int().nullable(),
  identityOrdinal: z.int().nullable(),
});
export type AttributeDescription = z.infer<typeof attributeSchema>;

export const tableDescriptionSchema = z.object({
  tableId: z.string(),
  schema: z.string(),
  name: z.string(),
  replicaIdentity: z.enum(["d", "f", "i", "n"]),
  fileNode: z.int(),
  primaryKeyOid: z.int(),
  attributeCount: z.int(),
  ddlCapture: z.string().nullable(),
  attributes: z.array(attributeSchema),
});
export type TableDescription = z.infer<typeof tableDescriptionSchema>;

/** SQL: the tables that hold the rows of the table c: itself, or its partitions. */
const leavesSql = `WITH RECURSIVE tree AS (
      SELECT c.oid AS relid
      UNION ALL
      SELECT i.inhrelid FROM tree JOIN pg_catalog.pg_inherits i ON i.inhparent = tree.relid WHERE c.relkind = 'p')
    SELECT l.oid, l.relfilenode FROM tree JOIN pg_catalog.pg_class l ON l.oid = tree.relid WHERE l.relkind <> 'p'`;

/** SQL: a number that is another one when the rows of the table c were written anew. */
export const fileNodeSql = `SELECT coalesce(sum(l.relfilenode::int8), 0)::int8 FROM (${leavesSql}) l`;

/**
 * SELECT of one json column, a row for each table. For sessions with search_path pg_catalog; takes no lock on the table,
 * which somebody may be altering for an hour. Serves every server version from 14 on: what a version doesn't have is
 * reached through JSON.
 * @param publication SQL of the publication's name
 * @param triggers SQL of a text[] with the names of the event triggers
 * @param tables SQL of an oid[]
 */
export function describeTablesSql(publication: string, triggers: string, tables: string): string {
  return `SELECT json_build_object(
    'tableId', c.oid::text, 'schema', n.nspname, 'name', c.relname, 'replicaIdentity', c.relreplident,
    'fileNode', (${fileNodeSql}), 'attributeCount', c.relnatts,
    'primaryKeyOid', coalesce((SELECT k.oid::int8 FROM pg_constraint k
                                WHERE k.conrelid = c.oid AND k.contype = 'p' AND NOT k.condeferrable), 0),
    'ddlCapture', (SELECT string_agg(e.oid::text || ':' || e.xmin::text, ',' ORDER BY e.oid) FROM pg_event_trigger e
                    WHERE e.evtname::text = ANY (${triggers}) AND e.evtenabled = 'A' HAVING count(*) = 2),
    'attributes', coalesce((
      SELECT json_agg(json_build_object(
          'number', a.attnum, 'dropped', a.attisdropped, 'name', a.attname,
          'published', NOT a.attisdropped AND CASE
              WHEN p.columns IS NOT NULL THEN EXISTS (
                SELECT FROM pg_attribute l
                 WHERE l.attrelid = p.relid AND l.attname = a.attname AND p.columns @> to_jsonb(l.attnum))
              WHEN a.attgenerated = '' THEN true
              ELSE a.attgenerated = 's' AND p.generated = 's' END,
          'typeOid', a.atttypid::int8, 'typeModifier', a.atttypmod,
          'typeName', coalesce(format_type(nullif(a.atttypid, 0), a.atttypmod), ''),
          'baseType', (${baseTypeSql("a.atttypid")}), 'element', (${elementSql("a.atttypid")}),
          'layout', concat_ws(',', a.attlen, a.attbyval, a.attalign), 'xid', a.xmin::text::int8,
          'missing', m.text, 'missingDiffers', m.kinds > 1,
          'primaryKeyOrdinal', (
            SELECT u.ordinal FROM pg_index i, LATERAL unnest(i.indkey::int2[]) WITH ORDINALITY AS u (number, ordinal)
             WHERE i.indrelid = c.oid AND i.indisprimary AND i.indimmediate AND i.indisvalid
               AND u.ordinal <= i.indnkeyatts AND u.number = a.attnum),
          'identityOrdinal', (
            SELECT u.ordinal FROM pg_index i, LATERAL unnest(i.indkey::int2[]) WITH ORDINALITY AS u (number, ordinal)
             WHERE i.indrelid = c.oid AND i.indisreplident AND i.indisvalid
               AND u.ordinal <= i.indnkeyatts AND u.number = a.attnum)
        ) ORDER BY a.attnum)
        FROM pg_attribute a
        CROSS JOIN LATERAL (
          SELECT min(v.text) AS text, count(DISTINCT concat(v.present, v.text)) AS kinds
            FROM (SELECT s.atthasmissing AS present,
                         CASE WHEN s.atthasmissing THEN (s.attmissingval::text::text[])[1] END AS text
                    FROM (${leavesSql}) l JOIN pg_attribute s ON s.attrelid = l.oid
                   WHERE s.attname = a.attname AND NOT s.attisdropped) v) m
        WHERE a.attrelid = c.oid AND a.attnum > 0), '[]')) AS description
  FROM pg_class c
  JOIN pg_namespace n ON n.oid = c.relnamespace
  LEFT JOIN LATERAL (
    SELECT to_jsonb(b) ->> 'pubgencols' AS generated, r.prrelid AS relid,
           nullif(to_jsonb(r) -> 'prattrs', 'null') AS columns
      FROM pg_publication b
      LEFT JOIN pg_publication_rel r ON r.prpubid = b.oid
           AND (r.prrelid = c.oid OR r.prrelid IN (SELECT relid FROM pg_partition_ancestors(c.oid) AS x (relid)))
     WHERE b.pubname = ${publication}
     ORDER BY r.prrelid = c.oid DESC NULLS LAST LIMIT 1) p ON true
 WHERE c.oid = ANY (${tables})`;
}

/** SQL: json of the type under a domain, NULL of any other type. */
function baseTypeSql(typeOid: string): string {
  return `WITH RECURSIVE base AS (
              SELECT y.typbasetype AS oid, y.typtypmod AS modifier FROM pg_type y
               WHERE y.oid = ${typeOid} AND y.typtype = 'd'
              UNION ALL
              SELECT y.typbasetype, y.typtypmod FROM base JOIN pg_type y ON y.oid = base.oid AND y.typtype = 'd')
            SELECT json_build_object('oid', base.oid::int8, 'typeModifier', base.modifier)
              FROM base JOIN pg_type y ON y.oid = base.oid AND y.typtype <> 'd'`;
}

/**
 * SQL: json of an array's elements: the type (of a domain the one under it), the modifier where a domain has one, else -1
 * (then the array's own holds for them), and the delimiter of the text form. NULL of any other type; int2vector and
 * oidvector are none, as they have a text form of their own.
 */
export function elementSql(typeOid: string): string {
  return `WITH RECURSIVE whole AS (
              SELECT y.* FROM pg_catalog.pg_type y WHERE y.oid = ${typeOid}
              UNION ALL
              SELECT y.* FROM whole JOIN pg_catalog.pg_type y ON whole.typtype = 'd' AND y.oid = whole.typbasetype),
            element AS (
              SELECT y.oid, -1 AS modifier, y.typtype, y.typbasetype, y.typtypmod, y.typdelim
                FROM whole JOIN pg_catalog.pg_type y ON y.oid = whole.typelem
               WHERE whole.typtype <> 'd' AND whole.typoutput = 'pg_catalog.array_out'::regproc
              UNION ALL
              SELECT y.oid, element.typtypmod, y.typtype, y.typbasetype, y.typtypmod, element.typdelim
                FROM element JOIN pg_catalog.pg_type y ON element.typtype = 'd' AND y.oid = element.typbasetype)
            SELECT json_build_object('oid', e.oid::int8, 'typeModifier', e.modifier, 'delimiter', e.typdelim)
              FROM element e WHERE e.typtype <> 'd'`;
}

/** Names of the two event triggers that announce the DDL of a publication's tables; of the schema that holds them too. */
export function ddlCaptureNames(publication: string): { schema: string; end: string; drop: string } {
  return {
    schema: shortened("sluice_ddl_", publication),
    end: shortened("sluice_ddl_", publication),
    drop: shortened("sluice_drop_", publication),
  };
}

/** At most 63 bytes, and different for different publications. */
function shortened(prefix: string, name: string): string {
  const whole = prefix + name;
  if (Buffer.byteLength(whole) <= 63) return whole;
  let sum = 0xcbf29ce484222325n;
  for (const byte of Buffer.from(name)) sum = BigInt.asUintN(64, (sum ^ BigInt(byte)) * 0x100000001b3n);
  const digest = sum.toString(16).padStart(16, "0");
  let kept = name;
  while (Buffer.byteLength(prefix + kept) > 63 - 17) kept = [...kept].slice(0, -1).join("");
  return `${prefix}${kept}_${digest}`;
}

/** Tables to describe by one query. */
export const describedMax = 100;

/** Descriptions of those tables that exist, and the snapshot (pg_current_snapshot) in which they were read. */
export async function readTableDescriptions(
  client: Client,
  publication: string,
  tableIds: readonly string[],
): Promise<{ tables: TableDescription[]; snapshot: string }> {
  const { end, drop } = ddlCaptureNames(publication);
  const { rows } = await client.query<{ descriptions: unknown[]; snapshot: string }>(
    `SELECT pg_current_snapshot()::text AS snapshot,
            ARRAY(${describeTablesSql("$1", "$2::text[]", "$3::oid[]")}) AS descriptions`,
    [publication, [end, drop], tableIds],
  );
  const [{ descriptions, snapshot }] = rows;
  return { tables: descriptions.map((description) => tableDescriptionSchema.parse(description)), snapshot };
}

/** What the catalog knows of a type that a RELATION message names. */
export interface TypeDescription {
  typeName: string;
  baseType: { oid: number; typeModifier: number } | null;
  element?: ElementDescription | null;
  layout: string;
}

/** In the order of `types`; null where there is no such type any more. */
export async function readTypeDescriptions(
  client: Client,
  types: readonly { typeOid: number; typeModifier: number }[],
): Promise<(TypeDescription | null)[]> {
  const { rows } = await client.query<{ found: boolean } & TypeDescription>(
    `SELECT y.oid IS NOT NULL AS found, format_type(t.oid, t.modifier) AS "typeName",
            (${baseTypeSql("t.oid")}) AS "baseType", (${elementSql("t.oid")}) AS element, concat_ws(',', y.typlen, y.typbyval, y.typalign) AS layout
       FROM unnest($1::oid[], $2::int4[]) WITH ORDINALITY AS t (oid, modifier, ordinal)
       LEFT JOIN pg_type y ON y.oid = t.oid
      ORDER BY t.ordinal`,
    [types.map((type) => type.typeOid), types.map((type) => type.typeModifier)],
  );
  return rows.map(({ found, ...type }) => (found ? type : null));
}
