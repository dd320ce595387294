import type { Client } from "pg";
import { quoteIdentifier, quoteLiteral } from "../../runtime/postgres/identifier";

/** The comment that marks a publication as ours, and names the slots of it that are to outlive their resources. */
export function ownershipMark(pipelineId: string, keptSlots: readonly string[] = []): string {
  return keptSlots.length === 0 ? `sluice:${pipelineId}` : `sluice:${pipelineId} keeps ${keptSlots.join(",")}`;
}

const markPattern = /^sluice:([a-z0-9_]{1,40})(?: keeps ([a-z0-9_,]+))?$/;

/** Pure: the pipeline id in a mark; null of any other comment. */
export function markedPipelineId(comment: string | null): string | null {
  return markPattern.exec(comment ?? "")?.[1] ?? null;
}

/** Pure: the slots that a mark names. */
export function keptSlotsOf(comment: string | null): string[] {
  return markPattern.exec(comment ?? "")?.[2]?.split(",") ?? [];
}

export async function markPublication(client: Client, name: string, mark: string | null): Promise<void> {
  const comment = mark === null ? "NULL" : quoteLiteral(mark);
  await client.query(`COMMENT ON PUBLICATION ${quoteIdentifier(name)} IS ${comment}`);
}

/** The slots that the mark of this publication names; none where it isn't of this pipeline. */
export async function readKeptSlots(client: Client, publication: string, pipelineId: string): Promise<string[]> {
  const comment = await readComment(client, publication);
  return markedPipelineId(comment) === pipelineId ? keptSlotsOf(comment) : [];
}

/**
 * Notes in the publication's mark whether a slot of it is to stay when its resource is deleted, by which whoever removes
 * leftovers knows it from one. Nothing where the publication isn't of this pipeline, or the server is a standby, whose
 * slots nobody takes for leftovers of the primary's.
 */
export async function noteKeptSlot(
  client: Client,
  publication: string,
  pipelineId: string,
  slot: string,
  isKept: boolean,
): Promise<void> {
  const comment = await readComment(client, publication);
  if (markedPipelineId(comment) !== pipelineId) return;
  const { rows } = await client.query<{ names: string[]; standby: boolean }>(
    "SELECT array_agg(slot_name::text) AS names, pg_is_in_recovery() AS standby FROM pg_catalog.pg_replication_slots",
  );
  if (rows[0].standby) return;
  const present = new Set(rows[0].names ?? []);
  const others = keptSlotsOf(comment).filter((name) => name !== slot && present.has(name));
  const mark = ownershipMark(pipelineId, isKept ? [...others, slot] : others);
  if (mark !== comment) await markPublication(client, publication, mark);
}

async function readComment(client: Client, publication: string): Promise<string | null> {
  const { rows } = await client.query<{ comment: string | null }>(
    "SELECT pg_catalog.obj_description(oid, 'pg_publication') AS comment FROM pg_catalog.pg_publication WHERE pubname = $1",
    [publication],
  );
  return rows[0]?.comment ?? null;
}
