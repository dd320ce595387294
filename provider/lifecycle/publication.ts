import type { SourceConfig } from "../../runtime/config";
import { SluiceError } from "../../runtime/errors";
import { quoteIdentifier } from "../../runtime/postgres/identifier";
import { withAdmin } from "../postgres/admin-session";
import { readDdlCapture, removeDdlCapture, setDdlCapture } from "../postgres/ddl-capture-statements";
import { readDatabaseOid, requirePrimary } from "../postgres/preflight";
import { markPublication, originDigest, ownershipMark } from "../postgres/publication-mark";
import {
  createPublicationSql,
  dropPublication,
  type PublicationFacts,
  readPublication,
  runStatements,
} from "../postgres/publication-statements";
import type { PreviousIdentity } from "../postgres/replica-identity";
import type { TableSize } from "../postgres/table-size";
import { copiesOf, tellCost } from "./change-cost";
import { same } from "./comparison";
import { pick } from "./connection";
import { restoreIdentities } from "./identity-restoration";
import { inIdentityTransaction } from "./identity-transaction";
import { nestedSource, sourceFailures } from "./input-check";
import type { Lifecycle, Properties } from "./lifecycle";
import { withManualSql } from "./manual-sql";
import { publicationNameOf } from "./names";
import { isOwn, printOnce, rememberOwn } from "./own-names";
import { alter, identitiesIn, keptSlotsOf, planOf, withMarked } from "./publication-change";
import { isMarked, isOurs } from "./publication-drift";
import { checkPublication, diffPublication, isReplacedInPlace, publicationChanges, shape } from "./publication-inputs";
import { removeSlotsOf } from "./publication-leftovers";
import type { PublicationPlan } from "./publication-plan";
import {
  adoptionChanges,
  adoptionProblem,
  failuresOf,
  inspectAtCheck,
  keepEqualFilters,
  nameTaken,
  requireSound,
} from "./publication-preflight";
import { readExisting, refreshPublication } from "./publication-reading";
import { sourceInputSchema } from "./source-input";
import { containsUnknown } from "./unknown-value";

/** Pure: what the last create or update knows of the object, beyond its inputs. */
function outputs(inputs: Properties, name: string, made: PublicationFacts, plan: PublicationPlan): Properties {
  return {
    ...inputs,
    publicationName: name,
    publicationOid: made.oid,
    owner: made.owner,
    intendedOwner: made.owner,
    rowFilters: plan.filters,
    drift: [],
  };
}

/** Identities of before, of publications that are being replaced, by their server and database. */
const handedOver = new Map<string, PreviousIdentity[]>();

function placeOf(props: Properties): string {
  const { host, port, database } = (props.source ?? {}) as Partial<SourceConfig>;
  return `${host}:${port}/${database}`;
}

export const publication: Lifecycle = {
  async check(olds, news) {
    const result = checkPublication(olds, news);
    const { inputs, failures } = result;
    const existing = olds.pipelineId !== undefined;
    if (typeof olds.publicationName === "string") rememberOwn("publication", olds.publicationName);
    if (existing && !containsUnknown(olds.pipelineId)) rememberOwn("pipeline", String(olds.pipelineId));
    const keys = Object.keys(shape).filter((key) => key !== "origin");
    const isUnchanged = () =>
      existing && inputs.publicationName !== undefined && same(pick(olds, keys), pick(inputs, keys));
    if (failures.length > 0) return result;
    const before = existing ? olds : null;
    const tell = (sizes?: TableSize[], changes = existing ? publicationChanges(olds, inputs) : [], of = before) => {
      const copies = sizes === undefined || sizes.length === 0 ? undefined : copiesOf(sizes);
      tellCost("Publication", inputs.publicationName, of, inputs, changes, copies);
    };
    if (isUnchanged() || inputs.preflight !== "preview" || containsUnknown(pick(inputs, keys))) {
      tell();
      return result;
    }
    try {
      if (existing && !containsUnknown(olds)) await keepEqualFilters(olds, inputs);
      if (isUnchanged()) {
        tell();
        return result;
      }
      const changes = existing ? publicationChanges(olds, inputs) : [];
      const { plan, name, taken, adopted, capture, sizes, notes } = await inspectAtCheck(inputs, before, changes);
      inputs.publicationName ??= name;
      if (adopted === null) tell(sizes);
      else tell(sizes, adoptionChanges(adopted, plan), {});
      for (const line of notes) printOnce(line);
      failures.push(...failuresOf(plan.problems));
      if (capture !== null) failures.push({ property: "captureDdl", reason: capture });
      const refusal =
        adopted === null ? null : adoptionProblem(adopted, plan.definition, (inputs.source as SourceConfig).user);
      if (refusal !== null) failures.push({ property: "adopt", reason: refusal.describe() });
      if (taken && !isOwn("publication", name)) {
        failures.push({ property: "publicationName", reason: nameTaken(name).describe() });
      }
    } catch (error) {
      failures.push(...sourceFailures(error, inputs.source as SourceConfig, nestedSource));
      if (failures.length === 0) tell();
    }
    return result;
  },

  diff(_id, olds, news) {
    // The one that is made beside it finds the identities as they should be, and must know what they were.
    if (isReplacedInPlace(olds, news)) {
      const known = handedOver.get(placeOf(news)) ?? [];
      handedOver.set(placeOf(news), [...identitiesIn(olds), ...known]);
    }
    return diffPublication(olds, news);
  },

  /** Everything in one transaction: nothing half-made remains. */
  async create(inputs) {
    const source = inputs.source as SourceConfig;
    const pipelineId = inputs.pipelineId as string;
    return withAdmin(source, "creating the publication", async (client) => {
      await requirePrimary(client);
      const plan = await planOf(client, inputs);
      requireSound(plan);
      const databaseOid = await readDatabaseOid(client);
      const name = (inputs.publicationName as string | undefined) ?? publicationNameOf(databaseOid, pipelineId);
      const found = await readPublication(client, { name });
      if (found !== null && !isMarked(found, pipelineId) && inputs.adopt !== true) throw nameTaken(name);
      const adopted = inputs.adopt === true ? found : null;
      const refusal = adopted === null ? null : adoptionProblem(adopted, plan.definition, source.user);
      if (refusal !== null) throw refusal;
      if (adopted?.comment != null && !isMarked(adopted, pipelineId)) {
        console.log(
          `warning: publication ${quoteIdentifier(name)} had the comment "${adopted.comment}", which is replaced`,
        );
      }
      const identities = await inIdentityTransaction(client, async () => {
        if (adopted !== null) return alter(client, adopted, plan, inputs, []);
        // One with our mark is left of a create whose result was lost.
        if (found !== null) await dropPublication(client, name);
        const { definition, version } = plan;
        await runStatements(client, [createPublicationSql(name, definition.allTables, definition, version)]);
        const made = (await readPublication(client, { name })) as PublicationFacts;
        const remembered = withMarked(handedOver.get(placeOf(inputs)) ?? [], found?.comment ?? null);
        const { origin } = inputs;
        return alter(client, made, plan, inputs, remembered, typeof origin === "string" ? originDigest(origin) : null);
      });
      const made = (await readPublication(client, { name })) as PublicationFacts;
      if (adopted === null) rememberOwn("new publication", name);
      return { id: name, outs: { ...outputs(inputs, name, made, plan), databaseOid, identities } };
    });
  },

  async read(id, props) {
    const isOthers = props.pipelineId === undefined;
    // Of one that is only looked at, the source is as a program gives it.
    const source = (isOthers ? sourceInputSchema.parse(props.source) : props.source) as SourceConfig;
    return withAdmin(source, "reading the publication", (client) =>
      isOthers ? readExisting(client, id, props) : refreshPublication(client, props),
    );
  },

  /** Altered in place, and only what differs; the gateway sees it by itself. */
  async update(_id, olds, news) {
    const source = news.source as SourceConfig;
    const name = olds.publicationName as string;
    const inputs = { ...news, publicationName: name, pipelineId: olds.pipelineId };
    return withAdmin(source, `altering publication ${quoteIdentifier(name)}`, async (client) => {
      const found = await readPublication(client, { name });
      if (found === null) {
        throw new SluiceError("missing-object", `publication ${quoteIdentifier(name)} does not exist any more`, {
          remedy: "Run pulumi refresh, then pulumi up: publication and slot are made anew.",
        });
      }
      if (!isOurs(found, olds)) throw nameTaken(name);
      const plan = await planOf(client, inputs);
      requireSound(plan);
      const { intendedOwner } = olds;
      const identities = await inIdentityTransaction(client, async () => {
        const kept = await alter(client, found, plan, inputs, identitiesIn(olds));
        if (typeof intendedOwner === "string" && found.owner !== intendedOwner) {
          await client.query(`ALTER PUBLICATION ${quoteIdentifier(name)} OWNER TO ${quoteIdentifier(intendedOwner)}`);
        }
        return kept;
      });
      const made = (await readPublication(client, { name })) as PublicationFacts;
      return { outs: { ...pick(olds, ["databaseOid"]), ...outputs(inputs, name, made, plan), identities } };
    });
  },

  async delete(_id, props) {
    const source = props.source as SourceConfig;
    const name = props.publicationName as string;
    const mark = ownershipMark(props.pipelineId as string);
    const isKept = props.onDelete === "keep";
    const capture = props.captureDdl === true ? removeDdlCapture(name) : [];
    const quoted = quoteIdentifier(name);
    const sql = [
      ...capture,
      isKept ? `COMMENT ON PUBLICATION ${quoted} IS NULL` : `DROP PUBLICATION IF EXISTS ${quoted}`,
    ].join("; ");
    try {
      await withAdmin(source, `dropping publication ${quoted}`, async (client) => {
        const found = await readPublication(client, { name });
        const foreign = found !== null && !isOurs(found, props);
        if (foreign) console.log(`warning: publication ${quoted} isn't this stack's any more and is left alone`);
        // Before the mark goes, which tells leftovers from slots that are to stay: without it there's no telling.
        if (found !== null && !foreign && !isKept) await removeSlotsOf(client, props, keptSlotsOf(found.comment));
        await inIdentityTransaction(client, async () => {
          await setDdlCapture(client, name, mark, false);
          if (isKept) {
            if (found !== null && !foreign) await markPublication(client, name, null);
            return;
          }
          if (!foreign) await dropPublication(client, name);
          const marked = foreign ? null : (found?.comment ?? null);
          await restoreIdentities(client, withMarked(identitiesIn(props), marked), []);
        });
        const left = await readDdlCapture(client, name, mark);
        if (left.ours && left.present.length > 0) {
          throw new SluiceError("internal", `${left.present.join(", ")} of publication ${quoted} are left`, {
            remedy: `Run ${removeDdlCapture(name).join("; ")}.`,
          });
        }
        if (isKept) {
          if (found !== null && !foreign)
            console.log(`publication ${quoted} stays, with its replica identities (onDelete: "keep")`);
        } else if (!foreign && (await readPublication(client, { name })) !== null) {
          throw new SluiceError("internal", `publication ${quoted} is still there`, { remedy: `Run ${sql}.` });
        }
      });
    } catch (error) {
      throw withManualSql(error, sql, source);
    }
  },
};
