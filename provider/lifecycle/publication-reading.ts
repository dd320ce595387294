import type { Client } from "pg";
import type { SourceConfig } from "../../runtime/config";
import { SluiceError } from "../../runtime/errors";
import { quoteIdentifier } from "../../runtime/postgres/identifier";
import { readDdlCapture } from "../postgres/ddl-capture-statements";
import { readDatabaseOid } from "../postgres/preflight";
import { ownershipMark } from "../postgres/publication-mark";
import { readPublication } from "../postgres/publication-statements";
import type { RowFilter } from "../postgres/row-filter";
import { pick } from "./connection";
import type { Properties, ReadResult } from "./lifecycle";
import { findDrift, foundProperties, isOurs, ownerDrift } from "./publication-drift";
import { definitionOf, fullIdentityOf, shape } from "./publication-inputs";
import { planPublication } from "./publication-plan";

/** What a hand changed is found as another value of the very property, in the inputs too: an update then repairs it. */
export async function refreshPublication(client: Client, props: Properties): Promise<ReadResult> {
  const name = props.publicationName as string;
  const found = await readPublication(client, { name });
  if (found === null || !isOurs(found, props)) return { id: "" };
  const pipelineId = props.pipelineId as string;
  const definition = definitionOf(props);
  const remembered = (props.rowFilters as RowFilter[] | undefined) ?? [];
  // A filter that reads as it was left needn't be asked for, and takes no lock.
  const left = new Map(found.tables.map((table) => [`${table.schema}.${table.name}`, table.where]));
  const known = remembered.filter(({ schema, name: table, text }) => left.get(`${schema}.${table}`) === text);
  const plan = await planPublication(client, definition, {
    user: (props.source as SourceConfig).user,
    fullIdentity: fullIdentityOf(props),
    known,
  });
  const capture = await readDdlCapture(client, name, ownershipMark(pipelineId), definition.schemas.length > 0);
  const captureDrift = props.captureDdl === true ? capture.faults.map((fault) => `DDL capture: ${fault}`) : [];
  const refreshed = {
    ...props,
    ...foundProperties(found, props, plan),
    publicationOid: found.oid,
    // A state of before these outputs gets them with its next update.
    ...(props.intendedOwner === undefined ? {} : { owner: found.owner }),
    ...(props.rowFilters === undefined ? {} : { rowFilters: plan.filters }),
    drift: [...findDrift(found, pipelineId, plan), ...ownerDrift(found, props), ...captureDrift],
  };
  return { id: name, props: refreshed, inputs: pick(refreshed, [...Object.keys(shape), "changeCost"]) };
}

/** Of one that isn't this stack's, by its name: `Publication.get`. */
export async function readExisting(client: Client, name: string, props: Properties): Promise<ReadResult> {
  const found = await readPublication(client, { name });
  if (found === null) {
    throw new SluiceError("missing-object", `publication ${quoteIdentifier(name)} does not exist`, {
      remedy: "Correct its name: SELECT pubname FROM pg_publication.",
    });
  }
  const { oid, comment: _comment, owned: _owned, name: _name, ...definition } = found;
  const databaseOid = await readDatabaseOid(client);
  const read = { ...props, ...definition, publicationName: name, publicationOid: oid, databaseOid, drift: [] };
  return { id: name, props: read, inputs: pick(props, ["source"]) };
}
