// Contract: the attribute numbers that are told for a RELATION message's columns are the true ones, however much later
// the catalog was read, or none are told; they are told where columns were only added, or only dropped and none since.
import { describe, expect, it } from "vitest";
import { matchRelation } from "../../../runtime/change/relation-match";
import type { TableSchema } from "../../../runtime/change/table-schema";
import { isWidening } from "../../../runtime/change/type-widening";
import type { Relation } from "../../../runtime/postgres/pgoutput-handler";
import type { TableDescription, TypeDescription } from "../../../runtime/postgres/table-description";
import fc, { propertyRuns } from "../../support/property";

interface Attribute {
  number: number;
  name: string;
  typeOid: number;
  dropped: boolean;
}

/** The server's table at a moment. */
interface Moment {
  attributes: Attribute[];
  fileNode: number;
}

const layouts: Record<number, string> = { 23: "4,t,i", 20: "8,t,d", 25: "-1,f,i", 1700: "-1,f,i", 1043: "-1,f,i" };
const names = ["a", "b", "c", "d"];

type Step = { kind: "add" | "drop" | "rename" | "retype" | "rewrite"; pick: number; name: number; type: number };

const step: fc.Arbitrary<Step> = fc.record({
  kind: fc.constantFrom("add", "add", "drop", "drop", "rename", "rename", "retype", "rewrite"),
  pick: fc.nat(20),
  name: fc.nat(names.length - 1),
  type: fc.nat(4),
});
const typeOids = Object.keys(layouts).map(Number);

function apply(moment: Moment, { kind, pick, name, type }: Step): Moment {
  const attributes = moment.attributes.map((attribute) => ({ ...attribute }));
  const live = attributes.filter((attribute) => !attribute.dropped);
  const chosen = live[pick % Math.max(live.length, 1)];
  const isFree = live.every((attribute) => attribute.name !== names[name]);
  const typeOid = typeOids[type];
  switch (kind) {
    case "add":
      if (isFree) attributes.push({ number: attributes.length + 1, name: names[name], typeOid, dropped: false });
      return { ...moment, attributes };
    case "drop":
      if (live.length > 1) chosen.dropped = true;
      return { ...moment, attributes };
    case "rename":
      if (isFree && chosen !== undefined) chosen.name = names[name];
      return { ...moment, attributes };
    case "retype": {
      if (chosen === undefined) return moment;
      // varchar and text are kept alike; all else writes the table anew
      const alike = [25, 1043].includes(chosen.typeOid) && [25, 1043].includes(typeOid);
      const fileNode = moment.fileNode + (alike || chosen.typeOid === typeOid ? 0 : 1);
      chosen.typeOid = typeOid;
      return { attributes, fileNode };
    }
    case "rewrite":
      return { ...moment, fileNode: moment.fileNode + 1 };
  }
}

const live = (moment: Moment) => moment.attributes.filter((attribute) => !attribute.dropped);

function knownOf(moment: Moment): TableSchema {
  return {
    version: 1,
    tableId: "1",
    schemaId: 1,
    schema: "s",
    name: "t",
    replicaIdentity: "f",
    columns: live(moment).map(({ number, name, typeOid }) => ({
      attributeNumber: number,
      name,
      physicalName: `c${number}`,
      typeOid,
      typeModifier: -1,
      typeName: String(typeOid),
      deltaType: "string",
      keyOrdinal: null,
    })),
    origin: {
      fileNode: moment.fileNode,
      primaryKeyOid: 0,
      attributeCount: moment.attributes.length,
      columnXids: {},
      ddlCapture: null,
    },
  };
}

function relationOf(moment: Moment): Relation {
  const columns = live(moment).map(({ name, typeOid }) => ({ name, typeOid, typeModifier: -1, isKey: true }));
  return { relationId: 1, schema: "s", name: "t", replicaIdentity: "f", columns };
}

function typesOf(moment: Moment): TypeDescription[] {
  return live(moment).map(({ typeOid }) => ({ typeName: String(typeOid), baseType: null, layout: layouts[typeOid] }));
}

function descriptionOf(moment: Moment): TableDescription {
  return {
    tableId: "1",
    schema: "s",
    name: "t",
    replicaIdentity: "f",
    fileNode: moment.fileNode,
    primaryKeyOid: 0,
    attributeCount: moment.attributes.length,
    ddlCapture: null,
    attributes: moment.attributes.map(({ number, name, typeOid, dropped }) => ({
      number,
      dropped,
      published: !dropped,
      name: dropped ? `........pg.dropped.${number}........` : name,
      typeOid: dropped ? 0 : typeOid,
      typeModifier: -1,
      typeName: String(typeOid),
      baseType: null,
      layout: layouts[typeOid],
      xid: 1,
      missing: null,
      missingDiffers: false,
      primaryKeyOrdinal: null,
      identityOrdinal: null,
    })),
  };
}

const start: Moment = {
  attributes: [
    { number: 1, name: "a", typeOid: 23, dropped: false },
    { number: 2, name: "b", typeOid: 25, dropped: false },
    { number: 3, name: "c", typeOid: 23, dropped: true },
  ],
  fileNode: 1,
};

function match(before: Step[], between: Step[], after: Step[]) {
  const known = before.reduce(apply, start);
  const then = between.reduce(apply, known);
  const now = after.reduce(apply, then);
  const found = matchRelation(knownOf(known), relationOf(then), descriptionOf(now), typesOf(then));
  return { found, truth: live(then).map(({ number }) => number) };
}

const sequence = fc.array(step, { maxLength: 6 });

describe("columns of a RELATION message", () => {
  it("are told truly, or not at all", () => {
    let told = 0;
    fc.assert(
      fc.property(sequence, sequence, sequence, (before, between, after) => {
        const { found, truth } = match(before, between, after);
        if (found.kind === "ambiguous") return;
        told++;
        expect(found.numbers).toEqual(truth);
      }),
      propertyRuns(5_000),
    );
    expect(told).toBeGreaterThan(100);
  });

  it.each(["add", "drop"] as const)("are told where all that happened is %s", (kind) => {
    const only = fc.array(
      step.map((one): Step => ({ ...one, kind })),
      { maxLength: 4 },
    );
    fc.assert(
      fc.property(sequence, only, kind === "add" ? only : fc.constant<Step[]>([]), (before, between, after) => {
        const { found, truth } = match(before, between, after);
        expect(found).toEqual({ kind: "exact", numbers: truth });
      }),
    );
  });
});

describe("isWidening", () => {
  it.each([
    ["short", "integer", true],
    ["integer", "long", true],
    ["long", "integer", false],
    ["integer", "integer", false],
    ["float", "double", true],
    ["integer", "double", false],
    ["decimal(8,2)", "decimal(10,2)", true],
    ["decimal(8,2)", "decimal(9,3)", true],
    ["decimal(8,2)", "decimal(8,3)", false],
    ["decimal(8,2)", "decimal(8,2)", false],
    ["short", "decimal(5,0)", true],
    ["integer", "decimal(11,2)", false],
    ["integer", "decimal(12,2)", true],
    ["long", "decimal(38,0)", false],
    ["date", "timestamp_ntz", false],
  ] as const)("%s to %s: %s", (from, to, expected) => {
    expect(isWidening(from, to)).toBe(expected);
  });
});
