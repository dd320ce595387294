import type { SourceConfig } from "../../runtime/config";
import { SluiceError } from "../../runtime/errors";
import { quoteIdentifier } from "../../runtime/postgres/identifier";
import { inTransaction, withAdmin } from "../postgres/admin-session";
import { readDdlCapture, removeDdlCapture, setDdlCapture } from "../postgres/ddl-capture-statements";
import { readDatabaseOid, requirePrimary } from "../postgres/preflight";
import {
  alterPublicationTables,
  createPublication,
  dropPublication,
  ownershipMark,
  readPublication,
  resetPublicationOptions,
} from "../postgres/publication-statements";
import { type PreviousIdentity, requireIdentities } from "../postgres/replica-identity";
import { inspectTables, type TableName } from "../postgres/table-inspection";
import type { TableSize } from "../postgres/table-size";
import { copiesOf, tellCost } from "./change-cost";
import { same } from "./comparison";
import { pick } from "./connection";
import { mergeIdentities, restoreIdentities } from "./identity-restoration";
import { nestedSource, sourceFailure } from "./input-check";
import type { Lifecycle } from "./lifecycle";
import { withManualSql } from "./manual-sql";
import { publicationNameOf } from "./names";
import { isOwn, printOnce, rememberOwn } from "./own-names";
import { findDrift, isOurs, sortedLike, tableChange } from "./publication-drift";
import { checkPublication, diffPublication, fullIdentityOf, publicationChanges, shape } from "./publication-inputs";
import { copiedTables, inspectAtCheck, nameTaken, reasonOf, requireTables } from "./publication-preflight";
import { containsUnknown } from "./unknown-value";

export const publication: Lifecycle = {
  async check(olds, news) {
    const result = checkPublication(olds, news);
    const { inputs, failures } = result;
    const existing = olds.pipelineId !== undefined;
    if (typeof olds.publicationName === "string") rememberOwn("publication", olds.publicationName);
    const keys = Object.keys(shape);
    const unchanged = existing && inputs.publicationName !== undefined && same(pick(olds, keys), pick(inputs, keys));
    if (failures.length > 0) return result;
    const changes = existing ? publicationChanges(olds, inputs) : [];
    const tell = (sizes?: TableSize[]) => {
      const copies = sizes === undefined || sizes.length === 0 ? undefined : copiesOf(sizes);
      tellCost("Publication", inputs.publicationName, existing ? olds : null, inputs, changes, copies);
    };
    if (unchanged || inputs.preflight !== "preview" || containsUnknown(pick(inputs, keys))) {
      tell();
      return result;
    }
    try {
      const copied = copiedTables(existing ? olds : null, inputs, changes);
      const { problems, name, taken, capture, sizes, notes } = await inspectAtCheck(inputs, existing, copied);
      inputs.publicationName ??= name;
      tell(sizes);
      for (const line of notes) printOnce(line);
      for (const [index, problem] of problems.entries()) {
        if (problem !== null) failures.push({ property: `tables[${index}]`, reason: reasonOf(problem) });
      }
      if (capture !== null) failures.push({ property: "captureDdl", reason: capture });
      if (taken && !isOwn("publication", name)) {
        failures.push({ property: "publicationName", reason: nameTaken(name).describe() });
      }
    } catch (error) {
      failures.push(sourceFailure(error, nestedSource));
    }
    return result;
  },

  diff: (_id, olds, news) => diffPublication(olds, news),

  /** Everything in one transaction: nothing half-made remains. */
  async create(inputs) {
    const source = inputs.source as SourceConfig;
    const tables = inputs.tables as TableName[];
    const pipelineId = inputs.pipelineId as string;
    const mark = ownershipMark(pipelineId);
    return withAdmin(source, "creating the publication", async (client) => {
      await requirePrimary(client);
      const facts = await requireTables(client, tables, source.user);
      const databaseOid = await readDatabaseOid(client);
      const name = (inputs.publicationName as string | undefined) ?? publicationNameOf(databaseOid, pipelineId);
      const found = await readPublication(client, { name });
      if (found !== null && found.comment !== mark) throw nameTaken(name);
      const identities = await inTransaction(client, async () => {
        // One with our mark is left of a create whose result was lost.
        if (found !== null) await dropPublication(client, name);
        const changed = await requireIdentities(client, facts, fullIdentityOf(inputs));
        await createPublication(client, name, tables, mark);
        await setDdlCapture(client, name, mark, inputs.captureDdl === true);
        return changed;
      });
      const made = await readPublication(client, { name });
      const outs = {
        ...inputs,
        publicationName: name,
        databaseOid,
        publicationOid: made?.oid ?? "",
        identities,
        drift: [],
      };
      return { id: name, outs };
    });
  },

  async read(_id, props) {
    const source = props.source as SourceConfig;
    const name = props.publicationName as string;
    return withAdmin(source, "reading the publication", async (client) => {
      const found = await readPublication(client, { name });
      if (found === null || !isOurs(found, props)) return { id: "" };
      const facts = await inspectTables(client, found.tables);
      const mark = ownershipMark(props.pipelineId as string);
      const capture = await readDdlCapture(client, name, mark);
      const captureDrift = props.captureDdl === true ? capture.faults.map((fault) => `DDL capture: ${fault}`) : [];
      const refreshed = {
        ...props,
        tables: sortedLike(
          found.tables.map(({ schema, name: table }) => ({ schema, name: table })),
          props.tables as TableName[],
        ),
        publicationOid: found.oid,
        drift: [...findDrift(found, facts, mark, fullIdentityOf(props)), ...captureDrift],
      };
      return { id: name, props: refreshed, inputs: pick(refreshed, [...Object.keys(shape), "changeCost"]) };
    });
  },

  /** Tables are added and dropped in place; the gateway sees it by itself. */
  async update(_id, olds, news) {
    const source = news.source as SourceConfig;
    const name = olds.publicationName as string;
    const wanted = news.tables as TableName[];
    const mark = ownershipMark(olds.pipelineId as string);
    return withAdmin(source, `altering publication ${quoteIdentifier(name)}`, async (client) => {
      const found = await readPublication(client, { name });
      if (found === null) {
        throw new SluiceError("missing-object", `publication ${quoteIdentifier(name)} does not exist any more`, {
          remedy: "Run pulumi refresh, then pulumi up: publication and slot are made anew.",
        });
      }
      if (!isOurs(found, olds)) throw nameTaken(name);
      const facts = await requireTables(client, wanted, source.user);
      const identities = await inTransaction(client, async () => {
        const changed = await requireIdentities(client, facts, fullIdentityOf(news));
        await alterPublicationTables(client, name, tableChange(found, wanted));
        await resetPublicationOptions(client, name, mark);
        await setDdlCapture(client, name, mark, news.captureDdl === true);
        const kept = mergeIdentities(olds.identities as PreviousIdentity[] | undefined, changed);
        return restoreIdentities(client, kept, wanted);
      });
      const outs = {
        ...pick(olds, ["databaseOid", "publicationOid"]),
        ...news,
        publicationName: name,
        pipelineId: olds.pipelineId,
        identities,
        drift: [],
      };
      return { outs };
    });
  },

  async delete(_id, props) {
    const source = props.source as SourceConfig;
    const name = props.publicationName as string;
    const mark = ownershipMark(props.pipelineId as string);
    const capture = props.captureDdl === true ? removeDdlCapture(name) : [];
    const sql = [...capture, `DROP PUBLICATION IF EXISTS ${quoteIdentifier(name)}`].join("; ");
    try {
      await withAdmin(source, `dropping publication ${quoteIdentifier(name)}`, async (client) => {
        const found = await readPublication(client, { name });
        const foreign = found !== null && !isOurs(found, props);
        if (foreign) {
          console.log(`warning: publication ${quoteIdentifier(name)} isn't this stack's any more and is left alone`);
        }
        await inTransaction(client, async () => {
          await setDdlCapture(client, name, mark, false);
          if (!foreign) await dropPublication(client, name);
          await restoreIdentities(client, (props.identities as PreviousIdentity[] | undefined) ?? [], []);
        });
        const left = await readDdlCapture(client, name, mark);
        if (left.ours && left.present.length > 0) {
          throw new SluiceError(
            "internal",
            `${left.present.join(", ")} of publication ${quoteIdentifier(name)} are left`,
            {
              remedy: `Run ${removeDdlCapture(name).join("; ")}.`,
            },
          );
        }
        if (!foreign && (await readPublication(client, { name })) !== null) {
          throw new SluiceError("internal", `publication ${quoteIdentifier(name)} is still there`, {
            remedy: `Run ${sql}.`,
          });
        }
      });
    } catch (error) {
      throw withManualSql(error, sql, source);
    }
  },
};
