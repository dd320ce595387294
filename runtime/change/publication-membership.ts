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

/** The publication as one look found it. */
export interface PublicationLook {
  /** its row in the catalog and that row's version, as a membership begins */
  version: string;
  owner: string;
  /** version of the catalog's row that tells the owner; null of the bootstrap superuser, who has none */
  ownedSince: string | null;
  /** all else of its row */
  options: unknown;
  atMs: number;
}

/** SQL text of a JSON object with a look but its time. @param publication alias of pg_publication */
export const publicationLookSql = (publication: string) => `json_build_object(
  'version', ${publication}.oid || '.' || ${publication}.xmin::text, 'owner', ${publication}.pubowner::text,
  'ownedSince', (SELECT d.xmin::text FROM pg_catalog.pg_shdepend d
    WHERE d.classid = 'pg_catalog.pg_publication'::regclass AND d.objid = ${publication}.oid AND d.deptype = 'o'
      AND d.dbid = (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database())),
  'options', to_jsonb(${publication}) - 'pubowner')`;

/** Two looks further apart tell nothing of what was between them. */
const looksApartMsMax = 10_000;

/**
 * Pure: whether the publication's row is another version only because its owner changed: its options are the same, and its
 * last change was that of the owner. Options that were changed and changed back leave no trace, so only looks that follow
 * each other closely prove it; after a stop of the gateway nothing does.
 */
export function onlyOwnerChanged(before: PublicationLook, after: PublicationLook): boolean {
  const [oid, xmin] = after.version.split(".");
  return (
    before.version !== after.version &&
    before.version.split(".")[0] === oid &&
    before.owner !== after.owner &&
    (after.ownedSince === null || after.ownedSince === xmin) &&
    JSON.stringify(before.options) === JSON.stringify(after.options) &&
    after.atMs - before.atMs <= looksApartMsMax
  );
}

/** Pure: a membership, as it reads in another version of the publication's row. */
export function inVersion(membership: string, version: string): string {
  return `${version}${membership.slice(membership.indexOf(":"))}`;
}
