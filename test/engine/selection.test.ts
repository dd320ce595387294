// Contract: which resources a selection is about, whatever depends on what: targets alone, or with all that depends on
// them; a deletion never leaves a dependent behind, and what is excluded keeps all that it needs; providers and the stack
// always belong to an update.
import { describe, expect, it } from "vitest";
import fc from "../support/property";
import { dependencyUrns, type ResourceState } from "./resource-state";
import { Scope, type Selection } from "./selection";

const urnOf = (index: number) => `urn:pulumi:s::p::a:b:T::r${index}`;

/** Resources in creation order, each depending on some before it, and some of them named. */
const stacks = fc
  .array(fc.record({ edges: fc.array(fc.nat()), asParent: fc.boolean(), isNamed: fc.boolean() }), {
    minLength: 1,
    maxLength: 12,
  })
  .map((nodes) => {
    const made: ResourceState[] = [];
    for (const [index, { edges, asParent }] of nodes.entries()) {
      const urns = index === 0 ? [] : edges.map((edge) => made[edge % index].urn);
      const links = asParent ? { parent: urns[0] } : { dependencies: urns };
      made.push({ urn: urnOf(index), custom: true, type: "a:b:T", inputs: {}, outputs: {}, ...links });
    }
    return { made, named: made.filter((_, index) => nodes[index].isNamed).map(({ urn }) => urn) };
  })
  .filter(({ named }) => named.length > 0);

const urns = (states: readonly ResourceState[]) => states.map(({ urn }) => urn);
const included = (selection: Selection, made: readonly ResourceState[]) => {
  const scope = new Scope(selection);
  return urns(made.filter((state) => scope.includes(state)));
};

/** What depends on any of these, directly or not, with them. */
function withDependents(made: readonly ResourceState[], named: readonly string[]): string[] {
  const byUrn = new Map(made.map((state) => [state.urn, state]));
  const reaches = (state: ResourceState): boolean =>
    named.includes(state.urn) || [...dependencyUrns(state)].some((urn) => reaches(byUrn.get(urn)!));
  return urns(made.filter(reaches));
}

describe("a selection", () => {
  it("without a name is of everything", () => {
    fc.assert(
      fc.property(stacks, ({ made }) => {
        const scope = new Scope({ replace: [made[0].urn] });
        expect(made.every((state) => scope.includes(state))).toBe(true);
        expect(made.filter(scope.refreshed(made))).toEqual(made);
        expect(made.filter(scope.deletable(made))).toEqual(made);
        expect(scope.isPartial || made.some(({ urn }) => scope.isUnasked(urn))).toBe(false);
      }),
    );
  });

  it("is of the targets, or of all that depends on them too; an exclusion is the reverse", () => {
    fc.assert(
      fc.property(stacks, fc.boolean(), ({ made, named }, dependents) => {
        const found = dependents ? withDependents(made, named) : named;
        const others = urns(made).filter((urn) => !found.includes(urn));
        const target = { target: named, targetDependents: dependents };
        const exclude = { exclude: named, excludeDependents: dependents };
        expect(included(target, made)).toEqual(found);
        expect(included(exclude, made)).toEqual(others);
        expect(urns(made.filter(new Scope(target).refreshed(made)))).toEqual(found);
        expect(urns(made.filter(new Scope(exclude).refreshed(made)))).toEqual(others);
      }),
    );
  });

  it("deletes targets with what depends on them, and says which nobody asked for", () => {
    fc.assert(
      fc.property(stacks, fc.boolean(), ({ made, named }, targetDependents) => {
        const scope = new Scope({ target: named, targetDependents });
        const condemned = urns(made.filter(scope.deletable(made)));
        expect(condemned).toEqual(withDependents(made, named));
        expect(condemned.filter((urn) => scope.isUnasked(urn))).toEqual(
          targetDependents ? [] : condemned.filter((urn) => !named.includes(urn)),
        );
      }),
    );
  });

  it("keeps what an excluded resource needs", () => {
    fc.assert(
      fc.property(stacks, ({ made, named }) => {
        const kept = made.filter((state) => !new Scope({ exclude: named }).deletable(made)(state));
        expect(urns(kept)).toEqual(expect.arrayContaining(named));
        for (const state of kept) for (const urn of dependencyUrns(state)) expect(urns(kept)).toContain(urn);
      }),
    );
  });

  it("knows patterns: one star within a segment, two across", () => {
    const [state] = [{ urn: "urn:pulumi:s::p::a:b:C$d:e/f:T::n.1", type: "d:e/f:T" } as ResourceState];
    const is = (target: string) => new Scope({ target: [target] }).includes(state);
    expect(["urn:**", "**::n.*", "urn:pulumi:*::p::**T::n.1", state.urn].map(is)).toEqual([true, true, true, true]);
    expect(["urn:*", "**::n-*", "urn:pulumi:s::p::*::n.1", `${state.urn}1`].map(is)).toEqual([
      false,
      false,
      false,
      false,
    ]);
    expect(new Scope({ target: ["**x", "urn:y"] }).unknown("target", () => false)).toEqual(["urn:y"]);
  });

  it("always has providers and the stack", () => {
    const scope = new Scope({ target: [urnOf(0)] });
    for (const type of ["pulumi:providers:pulumi-nodejs", "pulumi:pulumi:Stack"]) {
      expect(scope.includes({ urn: "u", custom: true, type, inputs: {}, outputs: {} })).toBe(true);
    }
  });
});
