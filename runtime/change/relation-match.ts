import type { Relation } from "../postgres/pgoutput-handler";
import type { AttributeDescription, TableDescription, TypeDescription } from "../postgres/table-description";
import type { TableSchema } from "./table-schema";

export type RelationMatch =
  /** attribute numbers of the relation's columns, in their order */
  { kind: "exact"; numbers: number[] } | { kind: "ambiguous"; reason: string };

/** Sets of columns looked at before a question is given up as ambiguous. */
const candidatesMax = 2_000;

/** Types that nothing else is kept as: a column becomes one of them, or ceases to be, by rewriting the table only. */
const unlikeOthers = new Set([17 /* bytea */, 1700 /* numeric */, 3802 /* jsonb */]);

/**
 * Pure: which attribute numbers the columns of a RELATION message have. The message doesn't tell them, and the catalog,
 * read now, may be newer than the message.
 *
 * Numbers only grow, and a dropped one is never used again. So the columns at the message's moment were: what is known
 * and still there, some of what has been dropped since, and of the new ones all up to some number. Of all such sets
 * those remain that have the relation's size, and whose columns can have had its types (while the table wasn't
 * rewritten, a column's bytes can't have changed). When one set remains it is the answer; when more do, nothing here
 * tells them apart: dropping a column and adding one like it looks the same before and after.
 * @param types of the relation's columns, as the catalog knows them now
 */
export function matchRelation(
  known: TableSchema,
  relation: Relation,
  table: TableDescription,
  types: readonly (TypeDescription | null)[],
): RelationMatch {
  const { origin } = known;
  if (origin === undefined) return ambiguous("what is known of it is too old to tell its columns");
  const byNumber = new Map(table.attributes.map((attribute) => [attribute.number, attribute]));
  const knownNumbers = new Set(known.columns.map((column) => column.attributeNumber));
  const isNew = (attribute: AttributeDescription) => attribute.number > origin.attributeCount;

  /** there at the moment of the message in any case */
  const certain = table.attributes.filter((one) => one.published && !isNew(one) && knownNumbers.has(one.number));
  /** there or not: known and gone since, or published since though older than what is known */
  const possible = table.attributes.filter((one) => !isNew(one) && one.published !== knownNumbers.has(one.number));
  const added = table.attributes.filter(isNew);

  const keepsBytes = origin.fileNode !== null && origin.fileNode === table.fileNode;
  const found = new Map<string, number[]>();
  let looked = 0;
  const complete = (numbers: number[]) => {
    const sorted = [...numbers].sort((a, b) => a - b);
    if (keepsBytes && !sorted.every((number, index) => canBe(number, index))) return;
    found.set(sorted.join(), sorted);
  };
  const canBe = (number: number, index: number): boolean => {
    const type = types[index];
    const attribute = byNumber.get(number);
    if (type === null || attribute === undefined) return true;
    if (attribute.layout !== type.layout) return false;
    const before = known.columns.find((column) => column.attributeNumber === number);
    const beforeOid = before?.baseType?.oid ?? before?.typeOid;
    const oid = type.baseType?.oid ?? relation.columns[index].typeOid;
    return beforeOid === undefined || beforeOid === oid || (!unlikeOthers.has(beforeOid) && !unlikeOthers.has(oid));
  };
  const choose = (chosen: number[], from: readonly AttributeDescription[], count: number) => {
    if (++looked > candidatesMax || count > from.length) return;
    if (count === 0) {
      complete(chosen);
      return;
    }
    choose([...chosen, from[0].number], from.slice(1), count - 1);
    choose(chosen, from.slice(1), count);
  };
  for (let upTo = 0; upTo <= added.length; upTo++) {
    const there = added.slice(0, upTo);
    const fixed = [...certain, ...there.filter((one) => one.published)].map((one) => one.number);
    const missing = relation.columns.length - fixed.length;
    if (missing >= 0) choose(fixed, [...possible, ...there.filter((one) => !one.published)], missing);
  }

  if (looked > candidatesMax) return ambiguous("too many of its columns were added and dropped");
  if (found.size === 0) return ambiguous("its columns and those in the catalog don't fit together");
  if (found.size > 1) {
    return ambiguous("columns were dropped and others like them added, and the catalog doesn't tell in what order");
  }
  const [numbers] = found.values();
  const explained = numbers.every((number, index) => {
    const now = byNumber.get(number);
    const { name } = relation.columns[index];
    const before = known.columns.find((column) => column.attributeNumber === number);
    return now?.dropped === true ? true : name === now?.name || name === before?.name;
  });
  return explained ? { kind: "exact", numbers } : ambiguous("its columns were renamed more than once");
}

function ambiguous(reason: string): RelationMatch {
  return { kind: "ambiguous", reason };
}
