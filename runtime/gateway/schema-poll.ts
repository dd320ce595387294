import type { Client } from "pg";
import { decideByDescription } from "../change/schema-change";
import type { TableSchema } from "../change/table-schema";
import type { GatewayConfig } from "../config";
import { type Lsn, parseLsn } from "../postgres/lsn";
import { ddlCaptureNames, describedMax, readTableDescriptions } from "../postgres/table-description";
import type { Capture } from "./capture";
import type { CapturedTable } from "./captured-table";
import { type PreparedChange, type SchemaFollower, schemaOf, typesOf } from "./schema-follower";

interface Expected {
  table: CapturedTable;
  /** what was known, and what RELATION messages had come, when the catalog was read */
  known: TableSchema;
  relations: number;
  horizonLsn: Lsn;
  change: PreparedChange;
  signature: string;
}

/**
 * Follows changes of tables that nobody writes to: a changed table is described by the stream only at its next row. A
 * description read now holds exactly when the stream has passed what was written until then, and no RELATION message of
 * the table came meanwhile: so rows of other columns can't have come either. It is also what keeps the knowledge fresh
 * by which later changes are told apart.
 */
export class SchemaPoll {
  /** of the catalog's rows that describe a table, when they were last looked at */
  private readonly signatures = new Map<string, string>();
  private expected: Expected[] = [];

  constructor(
    private readonly config: GatewayConfig,
    private readonly capture: Capture,
    private readonly follower: SchemaFollower,
  ) {}

  /** Reads what has changed since the last look; `settle` carries it out. */
  async look(client: Client): Promise<void> {
    const captured = [...this.capture.tables.values()].filter(
      (table) => schemaOf(table) !== null && table.snapshot === null,
    );
    const signatures = await readSignatures(client, this.config.publication, captured);
    const waiting = new Set(this.expected.map(({ table }) => table.tableId));
    const changed = captured
      .filter(({ tableId }) => signatures.has(tableId) && !waiting.has(tableId))
      .filter(({ tableId }) => signatures.get(tableId) !== this.signatures.get(tableId))
      .slice(0, describedMax);
    if (changed.length === 0) return;
    const before = changed.map((table) => ({ table, known: schemaOf(table), relations: table.relations }));
    const ids = changed.map(({ tableId }) => tableId);
    const { tables: described } = await readTableDescriptions(client, this.config.publication, ids);
    const horizonLsn = await readInsertLsn(client);
    for (const { table, known, relations } of before) {
      const description = described.find(({ tableId }) => tableId === table.tableId);
      if (known === null || description === undefined) continue;
      const policy = await this.follower.policy(typesOf(description), () => true);
      const decision = decideByDescription(known, description, policy);
      const change = await this.follower.prepare(table, decision);
      const signature = signatures.get(table.tableId) as string;
      this.expected.push({ table, known, relations, horizonLsn, change, signature });
    }
    this.settle();
  }

  /** Carries out what the stream has come to; call it often. */
  settle(): void {
    if (this.expected.length === 0) return;
    const { capture } = this;
    this.expected = this.expected.filter(({ table, known, relations, horizonLsn, change, signature }) => {
      if (schemaOf(table) !== known || table.relations !== relations) {
        this.follower.discard(change);
        return false;
      }
      if (!capture.betweenTransactions || capture.boundaryLsn < horizonLsn) return true;
      // Its changes so far are of the schema that is known.
      if (capture.streamed.touches(Number(table.tableId))) return true;
      this.signatures.set(table.tableId, signature);
      this.follower.carryOut(table, change, "catalog");
      return false;
    });
  }
}

async function readInsertLsn(client: Client): Promise<Lsn> {
  const { rows } = await client.query<{ lsn: string }>(
    `SELECT (CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_insert_lsn() END)::text AS lsn`,
  );
  return parseLsn(rows[0].lsn);
}

/** A text by table id that changes whenever a row of the catalog does that describes the table. */
async function readSignatures(
  client: Client,
  publication: string,
  tables: readonly CapturedTable[],
): Promise<Map<string, string>> {
  const { end, drop } = ddlCaptureNames(publication);
  const { rows } = await client.query<{ tableId: string; signature: string }>(
    `SELECT c.oid::text AS "tableId", concat_ws('/', c.xmin, n.nspname, a.count, a.xids, i.indexes, r.xids, e.triggers) AS signature
       FROM pg_class c
       JOIN pg_namespace n ON n.oid = c.relnamespace
       CROSS JOIN LATERAL (SELECT count(*) AS count, sum(a.xmin::text::int8) AS xids
                             FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0) a
       CROSS JOIN LATERAL (SELECT string_agg(concat_ws(',', i.indexrelid, i.indisprimary, i.indisreplident, i.indisvalid), ';'
                                             ORDER BY i.indexrelid) AS indexes
                             FROM pg_index i WHERE i.indrelid = c.oid AND (i.indisprimary OR i.indisreplident)) i
       CROSS JOIN LATERAL (SELECT sum(r.xmin::text::int8) AS xids FROM pg_publication_rel r WHERE r.prrelid = c.oid) r
       CROSS JOIN (SELECT string_agg(concat_ws(':', e.oid, e.xmin, e.evtenabled), ',' ORDER BY e.oid) AS triggers
                     FROM pg_event_trigger e WHERE e.evtname::text = ANY ($2::text[])) e
      WHERE c.oid = ANY ($1::oid[])`,
    [tables.map(({ tableId }) => tableId), [end, drop]],
  );
  return new Map(rows.map(({ tableId, signature }) => [tableId, signature]));
}
