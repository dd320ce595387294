import { createHash } from "node:crypto";
import type { Client } from "pg";
import { z } from "zod";
import { quoteIdentifier, quoteLiteral } from "../../runtime/postgres/identifier";
import type { PreviousIdentity } from "./replica-identity";

/** What the comment of a publication of ours says: what must be known when a state doesn't know it. */
export interface Mark {
  pipelineId: string;
  /** slots of it that are to outlive their resources */
  keptSlots: string[];
  /** which resource of which stack made it, while none of the stack's slots has been made for it: see `originDigest` */
  newOf: string | null;
  /** replica identities that we changed, with what they were */
  identities: PreviousIdentity[];
}

const pattern = /^sluice:([a-z0-9_]{1,40})(?: keeps ([a-z0-9_,]+))?(?: new ([0-9a-f]{16}))?(?: was (\[.*\]))?$/s;

const identitySchema = z.union([
  z.object({ kind: z.enum(["default", "full", "nothing"]) }),
  z.object({ kind: z.literal("index"), index: z.string() }),
]);
const identitiesSchema = z.array(z.object({ schema: z.string(), name: z.string(), previous: identitySchema }));

/** Pure: the beginning of a mark, which tells whose it is. */
export function ownershipMark(pipelineId: string): string {
  return `sluice:${pipelineId}`;
}

/** Pure. */
export function formatMark({ pipelineId, keptSlots, newOf, identities }: Mark): string {
  return [
    ownershipMark(pipelineId),
    ...(keptSlots.length === 0 ? [] : [`keeps ${keptSlots.join(",")}`]),
    ...(newOf === null ? [] : [`new ${newOf}`]),
    ...(identities.length === 0 ? [] : [`was ${JSON.stringify(identities)}`]),
  ].join(" ");
}

/** Pure: null of a comment that is none of ours. */
export function parseMark(comment: string | null): Mark | null {
  const match = pattern.exec(comment ?? "");
  if (match === null) return null;
  const [, pipelineId, kept, newOf, was] = match;
  return { pipelineId, keptSlots: kept?.split(",") ?? [], newOf: newOf ?? null, identities: parseIdentities(was) };
}

function parseIdentities(text: string | undefined): PreviousIdentity[] {
  if (text === undefined) return [];
  try {
    return identitiesSchema.parse(JSON.parse(text));
  } catch {
    return [];
  }
}

/** Pure: the pipeline id in a mark; null of any other comment. */
export function markedPipelineId(comment: string | null): string | null {
  return parseMark(comment)?.pipelineId ?? null;
}

/** Pure: short, as what a stack is called is nobody's business on the server. */
export function originDigest(origin: string): string {
  return createHash("sha256").update(origin).digest("hex").slice(0, 16);
}

export async function markPublication(client: Client, name: string, mark: string | null): Promise<void> {
  const comment = mark === null ? "NULL" : quoteLiteral(mark);
  await client.query(`COMMENT ON PUBLICATION ${quoteIdentifier(name)} IS ${comment}`);
}

/** The slots that the mark of this publication names; none where it isn't of this pipeline. */
export async function readKeptSlots(client: Client, publication: string, pipelineId: string): Promise<string[]> {
  const mark = parseMark(await readComment(client, publication));
  return mark?.pipelineId === pipelineId ? mark.keptSlots : [];
}

/**
 * Notes in the publication's mark that a slot was made for it, so that it isn't new any more, and whether that slot is to
 * stay when its resource is deleted, by which whoever removes leftovers knows it from one. Nothing where the publication
 * isn't of this pipeline, or the server is a standby, whose slots nobody takes for leftovers of the primary's.
 */
export async function noteSlot(
  client: Client,
  publication: string,
  pipelineId: string,
  slot: string,
  isKept: boolean,
): Promise<void> {
  const comment = await readComment(client, publication);
  const mark = parseMark(comment);
  if (mark?.pipelineId !== pipelineId) return;
  const { rows } = await client.query<{ names: string[] | null; standby: boolean }>(
    "SELECT array_agg(slot_name::text) AS names, pg_is_in_recovery() AS standby FROM pg_catalog.pg_replication_slots",
  );
  if (rows[0].standby) return;
  const present = new Set(rows[0].names ?? []);
  const others = mark.keptSlots.filter((name) => name !== slot && present.has(name));
  const noted = formatMark({ ...mark, newOf: null, keptSlots: isKept ? [...others, slot] : others });
  if (noted !== comment) await markPublication(client, publication, noted);
}

async function readComment(client: Client, publication: string): Promise<string | null> {
  const { rows } = await client.query<{ comment: string | null }>(
    "SELECT pg_catalog.obj_description(oid, 'pg_publication') AS comment FROM pg_catalog.pg_publication WHERE pubname = $1",
    [publication],
  );
  return rows[0]?.comment ?? null;
}

/** Marks of this database's publications, by their names, oldest first. */
export async function readMarks(client: Client): Promise<(Mark & { name: string })[]> {
  const { rows } = await client.query<{ name: string; comment: string }>(
    `SELECT p.pubname AS name, d.description AS comment FROM pg_catalog.pg_publication p
       JOIN pg_catalog.pg_description d ON d.objoid = p.oid AND d.classoid = 'pg_catalog.pg_publication'::regclass
      WHERE d.description LIKE 'sluice:%' ORDER BY p.oid`,
  );
  return rows.flatMap(({ name, comment }) => {
    const mark = parseMark(comment);
    return mark === null ? [] : [{ name, ...mark }];
  });
}

/**
 * The publication that a create of this resource has made whose result was lost: no state knows it, and no slot was made
 * for it since.
 */
export async function findLostPublication(
  client: Client,
  origin: string,
): Promise<{ name: string; pipelineId: string } | null> {
  const digest = originDigest(origin);
  return (await readMarks(client)).find(({ newOf }) => newOf === digest) ?? null;
}
