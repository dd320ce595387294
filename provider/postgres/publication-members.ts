import type { Client } from "pg";
import type { PublicationDefinition } from "./publication-definition";
import type { Identity, IdentityFacts } from "./replica-identity";
import type { TableName } from "./table-inspection";

/** A table that a definition publishes: named, in a named schema, or a partition of such a one. */
export interface Member extends TableName, IdentityFacts {
  oid: string;
  isPartitioned: boolean;
  /** the table by which it is published, itself or an ancestor */
  root: TableName;
  /** our role owns it, is a member of its owner, or is a superuser */
  owned: boolean;
  owner: string;
  selectable: boolean;
}

/** Every table of which updates and deletes would be published, partitioned ones and their partitions too. */
export async function readMembers(
  client: Client,
  { tables, schemas, allTables }: Pick<PublicationDefinition, "tables" | "schemas" | "allTables">,
): Promise<Member[]> {
  const { rows } = await client.query<
    Omit<Member, "root" | "identity"> & { rootSchema: string; rootName: string; identity: string; index: string | null }
  >(
    `WITH RECURSIVE candidate AS (
       SELECT c.oid, c.relkind, n.nspname, c.relname FROM pg_catalog.pg_class c
         JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
        WHERE c.relkind IN ('r', 'p') AND c.relpersistence = 'p' AND c.oid >= 16384
     ), named (oid) AS (
       SELECT c.oid FROM candidate c
         JOIN unnest($1::text[], $2::text[]) AS t (schema, name) ON t.schema = c.nspname AND t.name = c.relname
       UNION SELECT c.oid FROM candidate c WHERE $4::bool OR c.nspname::text = ANY ($3::text[])
     ), tree (root, relid, depth) AS (
       SELECT oid, oid, 0 FROM named
       UNION ALL SELECT tree.root, i.inhrelid, tree.depth + 1 FROM tree
         JOIN pg_catalog.pg_class c ON c.oid = tree.relid AND c.relkind = 'p'
         JOIN pg_catalog.pg_inherits i ON i.inhparent = tree.relid
     ), member AS (
       SELECT DISTINCT ON (relid) relid, root FROM tree ORDER BY relid, depth
     )
     SELECT c.oid::text, n.nspname AS schema, c.relname AS name, c.relkind = 'p' AS "isPartitioned",
            rn.nspname AS "rootSchema", rc.relname AS "rootName",
            pg_has_role(c.relowner, 'USAGE') AS owned, pg_get_userbyid(c.relowner) AS owner,
            has_table_privilege(c.oid, 'SELECT') AS selectable,
            c.relreplident::text AS identity,
            (SELECT ic.relname FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class ic ON ic.oid = i.indexrelid
              WHERE i.indrelid = c.oid AND i.indisreplident) AS index,
            (c.relkind = 'p' OR c.reltoastrelid <> 0) AND EXISTS (
              SELECT FROM pg_catalog.pg_attribute a
               WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attstorage <> 'p') AS toastable,
            EXISTS (SELECT FROM pg_catalog.pg_attribute a
               WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = 's')
              AS "hasStoredGenerated",
            EXISTS (SELECT FROM pg_catalog.pg_attribute a
               WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = 'v')
              AS "hasVirtualGenerated",
            coalesce(keys.columns, '{}') AS "primaryKey", coalesce(others.indexes, '[]') AS indexes
       FROM member m
       JOIN pg_catalog.pg_class c ON c.oid = m.relid AND c.relkind IN ('r', 'p')
       JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
       JOIN pg_catalog.pg_class rc ON rc.oid = m.root
       JOIN pg_catalog.pg_namespace rn ON rn.oid = rc.relnamespace
       LEFT JOIN LATERAL (
         SELECT array_agg(a.attname::text ORDER BY u.ordinal) AS columns
           FROM pg_catalog.pg_index i, LATERAL unnest(i.indkey::int2[]) WITH ORDINALITY AS u (number, ordinal),
                pg_catalog.pg_attribute a
          WHERE i.indrelid = c.oid AND i.indisprimary AND i.indimmediate AND u.ordinal <= i.indnkeyatts
            AND a.attrelid = c.oid AND a.attnum = u.number) keys ON true
       LEFT JOIN LATERAL (
         SELECT json_agg(json_build_object('name', ic.relname, 'columns', k.columns) ORDER BY ic.relname) AS indexes
           FROM pg_catalog.pg_index i
           JOIN pg_catalog.pg_class ic ON ic.oid = i.indexrelid
           CROSS JOIN LATERAL (
             SELECT json_agg(a.attname ORDER BY u.ordinal) AS columns, bool_and(coalesce(a.attnotnull, false)) AS sound
               FROM unnest(i.indkey::int2[]) WITH ORDINALITY AS u (number, ordinal)
               LEFT JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum = u.number AND u.number > 0
              WHERE u.ordinal <= i.indnkeyatts) k
          WHERE i.indrelid = c.oid AND i.indisunique AND i.indimmediate AND i.indisvalid AND i.indpred IS NULL
            AND k.sound) others ON true
      ORDER BY 2, 3`,
    [tables.map(({ schema }) => schema), tables.map(({ name }) => name), schemas, allTables],
  );
  return rows.map(({ rootSchema, rootName, identity, index, ...row }) => ({
    ...row,
    root: { schema: rootSchema, name: rootName },
    identity: identityOf(identity, index),
  }));
}

/** @param index of REPLICA IDENTITY USING INDEX; null where there is none, or it was dropped: then nothing identifies. */
export function identityOf(relreplident: string, index: string | null): Identity {
  switch (relreplident) {
    case "f":
      return { kind: "full" };
    case "n":
      return { kind: "nothing" };
    case "i":
      return index === null ? { kind: "nothing" } : { kind: "index", index };
    default:
      return { kind: "default" };
  }
}
