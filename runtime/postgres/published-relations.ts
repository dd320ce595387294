/**
 * SELECT of what pg_get_publication_tables() tells (PostgreSQL documentation, section 53.17), from the catalog alone:
 * the function opens each table, and so waits for whoever is altering one. Columns: `relid`, `columns` (int2[], the
 * column list; NULL for all), `filter` (pg_node_tree; NULL for all rows), `generated` (stored generated columns are sent,
 * where there is no column list).
 * @param version server_version_num
 * @param publication SQL of the publication's name
 */
export function publishedRelationsSql(version: number, publication: string): string {
  const hasLists = version >= 150_000;
  const schemas = hasLists
    ? `SELECT s.pnnspid AS nspid FROM publication p JOIN pg_catalog.pg_publication_namespace s ON s.pnpubid = p.oid`
    : "SELECT NULL::oid WHERE false";
  const own = hasLists
    ? "r.prattrs::int2[] AS columns, r.prqual AS filter"
    : "NULL::int2[] AS columns, NULL::pg_node_tree AS filter";
  return `WITH RECURSIVE publication AS (
      SELECT p.oid, p.puballtables AS everything, p.pubviaroot AS "byRoot",
             coalesce(pg_catalog.to_jsonb(p) ->> 'pubgencols' = 's', false) AS generated
        FROM pg_catalog.pg_publication p WHERE p.pubname = ${publication}
    ), spaces (nspid) AS (${schemas}), candidate AS (
      SELECT c.oid, c.relkind, c.relispartition, c.relnamespace FROM pg_catalog.pg_class c
       WHERE c.relkind IN ('r', 'p') AND c.relpersistence = 'p' AND c.oid >= 16384
    ), named (relid) AS (
      SELECT r.prrelid FROM publication p JOIN pg_catalog.pg_publication_rel r ON r.prpubid = p.oid
      UNION SELECT c.oid FROM candidate c JOIN spaces ON spaces.nspid = c.relnamespace
    ), tree (relid) AS (
      SELECT relid FROM named
      UNION SELECT i.inhrelid FROM tree
              JOIN pg_catalog.pg_class c ON c.oid = tree.relid AND c.relkind = 'p'
              JOIN pg_catalog.pg_inherits i ON i.inhparent = tree.relid AND NOT i.inhdetachpending
    ), member (relid) AS (
      SELECT c.oid FROM publication p JOIN candidate c ON p.everything
       WHERE CASE WHEN p."byRoot" THEN NOT c.relispartition ELSE c.relkind = 'r' END
      UNION SELECT n.relid FROM publication p JOIN named n ON p."byRoot" AND NOT p.everything
       WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_partition_ancestors(n.relid) AS x (relid)
                          WHERE x.relid <> n.relid AND x.relid IN (SELECT relid FROM named))
      UNION SELECT c.oid FROM publication p JOIN tree t ON NOT p."byRoot" AND NOT p.everything
              JOIN pg_catalog.pg_class c ON c.oid = t.relid AND c.relkind <> 'p'
    )
    SELECT m.relid, own.columns, own.filter, p.generated
      FROM publication p CROSS JOIN member m
      JOIN pg_catalog.pg_class c ON c.oid = m.relid
      LEFT JOIN LATERAL (
        SELECT ${own} FROM pg_catalog.pg_publication_rel r WHERE r.prpubid = p.oid AND r.prrelid = m.relid
           AND NOT p.everything AND c.relnamespace NOT IN (SELECT nspid FROM spaces)) own ON true`;
}
