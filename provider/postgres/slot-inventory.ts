import type { Client } from "pg";
import { markedPipelineId } from "./publication-mark";

/** A slot as the server lists it. */
export interface SlotEntry {
  name: string;
  /** null for a physical one */
  database: string | null;
  databaseOid: number | null;
  plugin: string | null;
  temporary: boolean;
  activePid: number | null;
  /** reserved, extended, unreserved or lost */
  walStatus: string | null;
  restartLsn: string | null;
  confirmedLsn: string | null;
  /** WAL that the server keeps for it; null where there is none */
  retainedBytes: number | null;
  /** ISO 8601; null while active, and before PostgreSQL 17 */
  inactiveSince: string | null;
}

/** A publication of one database. */
export interface PublicationEntry {
  name: string;
  database: string;
  tables: number;
  comment: string | null;
}

/** Of the whole server, largest first by the WAL that they keep. */
export async function readSlots(client: Client): Promise<SlotEntry[]> {
  // Columns of later versions, through JSON.
  const { rows } = await client.query<SlotEntry & { retained: string | null }>(
    `SELECT s.slot_name AS name, s.database, s.datoid::int8::float8 AS "databaseOid", s.plugin, s.temporary,
            s.active_pid AS "activePid", s.wal_status AS "walStatus", s.restart_lsn::text AS "restartLsn",
            s.confirmed_flush_lsn::text AS "confirmedLsn",
            pg_wal_lsn_diff(CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END,
                            s.restart_lsn)::text AS retained,
            to_char((to_jsonb(s) ->> 'inactive_since')::timestamptz AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"')
              AS "inactiveSince"
       FROM pg_catalog.pg_replication_slots s ORDER BY s.restart_lsn NULLS LAST, s.slot_name`,
  );
  return rows.map(({ retained, ...row }) => ({
    ...row,
    retainedBytes: retained === null ? null : Math.max(0, Number(retained)),
  }));
}

/** Of the client's database. */
export async function readPublications(client: Client): Promise<PublicationEntry[]> {
  const { rows } = await client.query<PublicationEntry>(
    `SELECT p.pubname AS name, current_database()::text AS database,
            (SELECT count(*)::int FROM pg_catalog.pg_publication_tables t WHERE t.pubname = p.pubname) AS tables,
            pg_catalog.obj_description(p.oid, 'pg_publication') AS comment
       FROM pg_catalog.pg_publication p ORDER BY 1`,
  );
  return rows;
}

/**
 * Whose it is. `marked`: ours, by the comment of a publication. `named`: it has a name as ours have, but no publication
 * with our mark: its stack has gone halfway, or it is Lakeflow Connect's, which names slots in the same way. `unseen`: such
 * a name, in a database that we couldn't look into. `foreign`: anything else.
 */
export type Ownership =
  | { kind: "marked"; pipelineId: string }
  | { kind: "named"; pipelineId: string }
  | { kind: "unseen"; pipelineId: string }
  | { kind: "foreign" };

/** Pure: of a publication, by its comment. */
export function publicationOwnership({ name, comment }: PublicationEntry): Ownership {
  const marked = markedPipelineId(comment);
  if (marked !== null) return { kind: "marked", pipelineId: marked };
  const named = /^dbx_pub_\d+_([a-z0-9_]{1,40})$/.exec(name);
  return named === null ? { kind: "foreign" } : { kind: "named", pipelineId: named[1] };
}

/** Pure: of a slot, by its name and the publications of its database; `null` where these aren't known. */
export function slotOwnership(slot: SlotEntry, publications: readonly PublicationEntry[] | null): Ownership {
  const parts = /^dbx_(\d+)_([a-z0-9_]{1,50})$/.exec(slot.name);
  if (parts === null || slot.plugin !== "pgoutput" || Number(parts[1]) !== slot.databaseOid) return { kind: "foreign" };
  const pipelineId = parts[2];
  if (publications === null) return { kind: "unseen", pipelineId };
  const marks = publications
    .filter(({ database }) => database === slot.database)
    .map(publicationOwnership)
    .flatMap((owner) => (owner.kind === "marked" ? owner.pipelineId : []));
  // A slot beside another of the same publication has a suffix.
  const mark = marks.find((id) => pipelineId === id) ?? marks.find((id) => pipelineId.startsWith(`${id}_`));
  return mark === undefined ? { kind: "named", pipelineId } : { kind: "marked", pipelineId: mark };
}
