/**
 * SQL text that tells one membership of a table in a publication from another: a table that leaves and comes back has
 * a gap between, of which the stream says nothing. Row identities of the catalog (PostgreSQL documentation, sections
 * 53.40 to 53.42) are never used again, and `xmin` of the publication changes with its options.
 * @param version server_version_num
 * @param publication expression of the publication's name
 * @param relation expression of the table's oid
 */
export function membershipSql(version: number, publication: string, relation: string): string {
  // A partition is a member by its ancestors.
  const family = `SELECT ${relation} UNION SELECT relid FROM pg_catalog.pg_partition_ancestors(${relation})`;
  const bySchema =
    version < 150_000
      ? ""
      : `UNION ALL SELECT s.oid FROM pg_catalog.pg_publication_namespace s
          WHERE s.pnpubid = p.oid
            AND s.pnnspid IN (SELECT f.relnamespace FROM pg_catalog.pg_class f WHERE f.oid IN (${family}))`;
  return `(SELECT p.oid || '.' || p.xmin::text || ':' || coalesce((
      SELECT string_agg(m.oid::text, ',' ORDER BY m.oid) FROM (
        SELECT r.oid FROM pg_catalog.pg_publication_rel r WHERE r.prpubid = p.oid AND r.prrelid IN (${family})
        ${bySchema}) m), '')
    FROM pg_catalog.pg_publication p WHERE p.pubname = ${publication})`;
}
