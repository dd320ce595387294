import type { Client } from "pg";
import type { SourceConfig } from "../../runtime/config";
import { quoteTable } from "../../runtime/postgres/identifier";
import { setDdlCapture } from "../postgres/ddl-capture-statements";
import { formatMark, markPublication, ownershipMark, parseMark } from "../postgres/publication-mark";
import { alterPublicationSql, type PublicationFacts, runStatements } from "../postgres/publication-statements";
import type { PreviousIdentity } from "../postgres/replica-identity";
import type { RowFilter } from "../postgres/row-filter";
import { readOthersIdentities, restoreIdentities, setIdentities } from "./identity-restoration";
import type { Properties } from "./lifecycle";
import { alterationOf, isMarked } from "./publication-drift";
import { definitionOf, fullIdentityOf, keyedOf } from "./publication-inputs";
import { type PublicationPlan, planPublication } from "./publication-plan";

const bySchema = (inputs: Properties) => definitionOf(inputs).schemas.length > 0;

/** Pure: of a publication's comment. */
export const keptSlotsOf = (comment: string | null) => parseMark(comment)?.keptSlots ?? [];

/** Pure: what a state remembers. */
export const identitiesIn = (props: Properties) => (props.identities as PreviousIdentity[] | undefined) ?? [];

/** Pure: what the mark remembers too, where the result of an update was lost. */
export function withMarked(identities: readonly PreviousIdentity[], comment: string | null): PreviousIdentity[] {
  const known = new Set(identities.map(quoteTable));
  const marked = parseMark(comment)?.identities ?? [];
  return [...identities, ...marked.filter((table) => !known.has(quoteTable(table)))];
}

/** In a transaction: alters what differs, and nothing else; marks it as ours. @param newOf see `Mark` */
export async function alter(
  client: Client,
  found: PublicationFacts,
  plan: PublicationPlan,
  inputs: Properties,
  remembered: readonly PreviousIdentity[],
  newOf: string | null = null,
): Promise<PreviousIdentity[]> {
  const pipelineId = inputs.pipelineId as string;
  const known = withMarked(remembered, found.comment);
  const set = await setIdentities(client, found.name, plan, [
    ...known,
    ...(await readOthersIdentities(client, found.name, known, plan.members)),
  ]);
  const alteration = alterationOf(found, plan.definition, plan.filters);
  await runStatements(client, alterPublicationSql(found.name, alteration, plan.version));
  const isCaptured = inputs.captureDdl === true;
  await setDdlCapture(client, found.name, ownershipMark(pipelineId), isCaptured, bySchema(inputs));
  const identities = await restoreIdentities(client, set, plan.members);
  const keptSlots = isMarked(found, pipelineId) ? keptSlotsOf(found.comment) : [];
  const mark = formatMark({ pipelineId, keptSlots, newOf, identities });
  if (found.comment !== mark) await markPublication(client, found.name, mark);
  return identities;
}

/** What the server says of a publication of these inputs. */
export const planOf = (client: Client, inputs: Properties, known?: readonly RowFilter[]) =>
  planPublication(client, definitionOf(inputs), {
    user: (inputs.source as SourceConfig).user,
    fullIdentity: fullIdentityOf(inputs),
    keyed: keyedOf(inputs),
    known,
  });
