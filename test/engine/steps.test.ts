// Contract: what the test engine decides without asking anyone. Nothing is deleted before what depends on it, nothing is
// deleted twice or forgotten, a half-made resource is always tried again, and secrets survive a round trip.

import { describe, expect, it } from "vitest";
import fc from "../support/property";
import type { PropertyMap } from "./property-values";
import { carrySecrets, changedKeys, containsSecret, isSecret, makeSecret, plainProperties } from "./property-values";
import { dependencyUrns, type ResourceState } from "./resource-state";
import { SecretEncryption } from "./secret-encryption";
import { decideChange, deletionOrder, dependentsOf, planDeletions } from "./steps";

function resource(name: string, more: Partial<ResourceState> = {}): ResourceState {
  return { urn: `urn:pulumi:s::p::t:t:T::${name}`, custom: true, type: "t:t:T", inputs: {}, outputs: {}, ...more };
}

/** Resources in creation order, each depending on some before it. */
const stacks = fc
  .array(
    fc.record({ edges: fc.array(fc.nat()), asParent: fc.boolean(), condemned: fc.boolean(), gone: fc.boolean() }),
    { minLength: 1, maxLength: 12 },
  )
  .map((nodes) => {
    const made: ResourceState[] = [];
    for (const [index, { edges, asParent, gone }] of nodes.entries()) {
      const urns = index === 0 ? [] : edges.map((edge) => made[edge % index].urn);
      const links = asParent ? { parent: urns[0] } : { dependencies: urns };
      made.push(resource(String(index), { ...links, delete: gone || undefined }));
    }
    return { made, condemned: made.filter((_, index) => nodes[index].condemned) };
  });

describe("the order of deletions", () => {
  it("puts each resource once, after all that depends on it", () => {
    fc.assert(
      fc.property(stacks, ({ condemned }) => {
        const groups = deletionOrder(condemned);
        expect(new Set(groups.flat())).toEqual(new Set(condemned));
        expect(groups.flat()).toHaveLength(condemned.length);
        const turn = new Map(groups.flatMap((group, index) => group.map((state) => [state.urn, index] as const)));
        for (const state of condemned) {
          for (const urn of dependencyUrns(state)) {
            if (turn.has(urn)) expect(turn.get(state.urn)!).toBeLessThan(turn.get(urn)!);
          }
        }
      }),
    );
  });

  it("takes what is no longer declared and what was replaced, and nothing else", () => {
    fc.assert(
      fc.property(stacks, ({ made, condemned }) => {
        const handled = new Set(made.filter((state) => !condemned.includes(state)).map(({ urn }) => urn));
        const planned = planDeletions(made, handled, new Set());
        const expected = made.filter((state) => state.delete || condemned.includes(state));
        expect(planned.map(({ state }) => state)).toEqual(expected);
        for (const { state, operation } of planned) expect(operation).toBe(state.delete ? "delete-replaced" : "delete");
      }),
    );
  });

  it("knows the dependents of a resource through all others", () => {
    fc.assert(
      fc.property(stacks, ({ made }) => {
        const root = made[0];
        const reaches = (state: ResourceState): boolean =>
          [...dependencyUrns(state)].some(
            (urn) => urn === root.urn || reaches(made.find((other) => other.urn === urn)!),
          );
        expect(dependentsOf(root, made)).toEqual(made.filter((state) => state !== root && reaches(state)));
      }),
    );
  });
});

describe("a change", () => {
  const none = { changes: "none" as const, replaces: [], deleteBeforeReplace: false };
  const options = { replaceOnChanges: [] };

  it("is none when the provider says so, whatever the inputs are", () => {
    const old = resource("a", { inputs: { size: 1 } });
    expect(decideChange(old, { size: 2 }, none, options)).toEqual({ kind: "same" });
  });

  it("compares the inputs when the provider does not know", () => {
    const old = resource("a", { inputs: { size: 1, pw: makeSecret("x") } });
    const unknown = { ...none, changes: "unknown" as const };
    expect(decideChange(old, { pw: "x", size: 1 }, unknown, options)).toEqual({ kind: "same" });
    expect(decideChange(old, { pw: "y", size: 1 }, unknown, options)).toEqual({ kind: "update", diffKeys: ["pw"] });
  });

  it("is an update as long as the resource is half-made", () => {
    const old = resource("a", { initErrors: ["not ready"] });
    expect(decideChange(old, {}, none, options).kind).toBe("update");
  });

  it("is a replacement that deletes nothing more where the resource is deleted already", () => {
    const old = resource("a", { pendingReplacement: true });
    expect(decideChange(old, {}, none, options)).toMatchObject({ kind: "replace", deleteBeforeReplace: true });
  });
});

describe("secrets", () => {
  const plain = fc.dictionary(
    fc.string({ minLength: 1 }).filter((key) => key !== "__proto__"),
    fc.oneof(fc.string(), fc.integer(), fc.constant(null), fc.array(fc.string())),
  ) as fc.Arbitrary<PropertyMap>;

  it("are carried to the properties of the same name, and change no value", () => {
    fc.assert(
      fc.property(plain, fc.infiniteStream(fc.boolean()), (properties, choice) => {
        const marked = Object.fromEntries(
          Object.entries(properties).map(([key, value]) => [key, choice.next().value ? makeSecret(value) : value]),
        );
        const carried = carrySecrets(properties, marked);
        expect(changedKeys(properties, carried)).toEqual([]);
        expect(plainProperties(carried)).toEqual(properties);
        for (const key of Object.keys(properties)) expect(isSecret(carried[key])).toBe(containsSecret(marked[key]));
      }),
    );
  });

  it("come back from the file as they were, and are found when changed", async () => {
    const encryption = await SecretEncryption.create("passphrase");
    const again = await SecretEncryption.open("passphrase", encryption.salt);
    await expect(SecretEncryption.open("other", encryption.salt)).rejects.toThrow("PULUMI_CONFIG_PASSPHRASE");
    fc.assert(
      fc.property(fc.string(), (text) => {
        const sealed = encryption.encrypt(text);
        expect(again.decrypt(sealed)).toBe(text);
        const [version, nonce, body] = sealed.split(":");
        const broken = Buffer.from(body, "base64");
        broken[0] ^= 1;
        expect(() => again.decrypt([version, nonce, broken.toString("base64")].join(":"))).toThrow();
      }),
    );
  });
});
