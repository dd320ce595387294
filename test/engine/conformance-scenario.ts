// The operations of the conformance set: conformance/recorded.json holds what the Pulumi CLI did in each.
import * as fs from "node:fs";
import type { Selection } from "./selection";

/** One operation, run after all those before it. */
export interface ScenarioOperation {
  name: string;
  kind: "preview" | "up" | "refresh" | "destroy";
  /** What the program is told in PARAMS. */
  params?: Record<string, string | number | boolean>;
  /** The command's options. */
  selection?: Selection;
  /** Change to the world (a folder) by someone else. */
  before?: (world: string) => void;
}

const thing = "pulumi-nodejs:dynamic/test:Thing";
const urn = (name: string, type = thing) => `urn:pulumi:cmp::dyn::${type}::${name}`;
const [a, b, c] = [urn("a"), urn("comp-b", `test:index:Comp$${thing}`), urn("c")];
const comp = urn("comp", "test:index:Comp");

const edit = (file: string, change: Record<string, unknown>) => (world: string) => {
  const path = `${world}/${file}`;
  fs.writeFileSync(path, JSON.stringify({ ...JSON.parse(fs.readFileSync(path, "utf8")), ...change }));
};
export const scenario: ScenarioOperation[] = [
  { name: "preview-create", kind: "preview" },
  { name: "up-create", kind: "up" },
  { name: "up-same", kind: "up" },
  { name: "preview-update", kind: "preview", params: { size: 2 } },
  { name: "up-update", kind: "up", params: { size: 2 } },
  { name: "preview-replace", kind: "preview", params: { size: 2, zone: "z2" } },
  { name: "up-replace", kind: "up", params: { size: 2, zone: "z2" } },
  { name: "refresh-clean", kind: "refresh" },
  { name: "refresh-drift", kind: "refresh", before: edit("a-2", { size: 99 }) },
  { name: "up-fix-drift", kind: "up", params: { size: 2, zone: "z2" } },
  { name: "strict-on", kind: "up", params: { size: 2, zone: "z2", strictB: true } },
  { name: "strict-set", kind: "up", params: { size: 3, zone: "z2", strictB: true } },
  { name: "preview-dbr", kind: "preview", params: { size: 3, zone: "z3", dbr: true, strictB: true } },
  { name: "up-dbr", kind: "up", params: { size: 3, zone: "z3", dbr: true, strictB: true } },
  { name: "refresh-deleted", kind: "refresh", before: (w) => fs.rmSync(`${w}/c-1`, { force: true }) },
  { name: "up-recreate", kind: "up", params: { size: 3, zone: "z3" } },
  { name: "alias-move", kind: "up", params: { size: 3, zone: "z3", moveC: true } },
  { name: "alias-back-delete", kind: "up", params: { size: 3, zone: "z3", noC: true } },
  { name: "create-init-error", kind: "up", params: { size: 3, zone: "z3", failC: "init" } },
  { name: "retry-init", kind: "up", params: { size: 3, zone: "z3" } },
  { name: "update-hard-fail", kind: "up", params: { size: 4, zone: "z3", failB: "hard" } },
  { name: "check-fail", kind: "up", params: { size: -1, zone: "z3" } },
  { name: "program-throws", kind: "up", params: { noProgram: true } },
  { name: "retry-up", kind: "up", params: { size: 4, zone: "z3" } },
  { name: "protect", kind: "up", params: { size: 4, zone: "z3", protectA: true, retainB: true } },
  { name: "protected-replace", kind: "up", params: { size: 4, zone: "z4", protectA: true, retainB: true } },
  {
    name: "remove-c-preview",
    kind: "preview",
    params: { size: 4, zone: "z3", protectA: true, retainB: true, noC: true },
  },
  { name: "destroy-protected", kind: "destroy" },
  { name: "unprotect", kind: "up", params: { size: 4, zone: "z3", retainB: true } },
  { name: "destroy", kind: "destroy" },
  { name: "x-create", kind: "up", params: { ext: true } },
  { name: "x-same", kind: "up", params: { ext: true } },
  { name: "x-nodiff-update", kind: "up", params: { ext: true, v: 2 } },
  { name: "x-replace-delete-fails", kind: "up", params: { ext: true, v: 2, zone: "z2", stuck: true } },
  { name: "x-state-after", kind: "preview", params: { ext: true, v: 2, zone: "z2" } },
  {
    name: "x-retry-delete",
    kind: "up",
    params: { ext: true, v: 2, zone: "z2" },
    before: (w) => fs.writeFileSync(`${w}/unstick`, ""),
  },
  { name: "x-dbr-create-fails", kind: "up", params: { ext: true, v: 2, zone: "z3", dbr: true, fail: "hard" } },
  { name: "x-dbr-retry", kind: "up", params: { ext: true, v: 2, zone: "z3", dbr: true } },
  { name: "x-parallel-fail", kind: "up", params: { ext: true, v: 2, zone: "z3", extra: true } },
  { name: "x-after-parallel-fail", kind: "up", params: { ext: true, v: 2, zone: "z3" } },
  { name: "x-undefined-out", kind: "up", params: { ext: true, v: 2, zone: "z3", undef: true } },
  { name: "x-crash", kind: "up", params: { ext: true, v: 2, zone: "z3", crash: true } },
  { name: "x-duplicate", kind: "up", params: { ext: true, v: 2, zone: "z3", dup: true } },
  { name: "x-get", kind: "up", params: { ext: true, v: 2, zone: "z3", get: true } },
  { name: "x-get-preview", kind: "preview", params: { ext: true, v: 2, zone: "z3", get: true } },
  { name: "x-big", kind: "up", params: { ext: true, v: 2, zone: "z3", big: true } },
  { name: "x-explicit-provider", kind: "up", params: { ext: true, v: 2, zone: "z3", prov: true } },
  { name: "x-explicit-provider-same", kind: "up", params: { ext: true, v: 2, zone: "z3", prov: true } },
  { name: "x-deletedWith", kind: "up", params: { ext: true, v: 2, zone: "z3", dw: true } },
  { name: "x-deletedWith-gone", kind: "up", params: { ext: true, v: 2, zone: "z3", noHost: true } },
  { name: "x-refresh-fail", kind: "refresh", before: (w) => fs.writeFileSync(`${w}/readfail`, "") },
  { name: "x-refresh", kind: "refresh", before: (w) => fs.rmSync(`${w}/readfail`) },
  { name: "x-destroy-fail", kind: "destroy", before: (w) => fs.rmSync(`${w}/unstick`) },
  { name: "x-destroy", kind: "destroy", before: (w) => fs.writeFileSync(`${w}/unstick`, "") },
  {
    name: "t-create-target",
    kind: "up",
    selection: { target: [a] },
    // A world of its own: ids are counted in it.
    before: (w) => {
      for (const file of fs.readdirSync(w)) fs.rmSync(`${w}/${file}`, { recursive: true });
    },
  },
  { name: "t-preview-untargeted-need", kind: "preview", selection: { target: [c] } },
  { name: "t-untargeted-need", kind: "up", selection: { target: [c] } },
  { name: "t-create-glob", kind: "up", selection: { target: ["urn:pulumi:*::dyn::**::comp*"] } },
  { name: "t-create-rest", kind: "up" },
  { name: "t-preview-target", kind: "preview", params: { size: 2 }, selection: { target: [a] } },
  { name: "t-target", kind: "up", params: { size: 2 }, selection: { target: [a] } },
  { name: "t-target-dependents", kind: "up", params: { size: 3 }, selection: { target: [a], targetDependents: true } },
  { name: "t-target-unknown", kind: "up", params: { size: 4 }, selection: { target: [a, urn("nobody")] } },
  { name: "t-exclude", kind: "up", params: { size: 5 }, selection: { exclude: [b] } },
  {
    name: "t-exclude-dependents",
    kind: "up",
    params: { size: 6 },
    selection: { exclude: [b], excludeDependents: true },
  },
  { name: "t-preview-replace", kind: "preview", params: { size: 6 }, selection: { replace: [a] } },
  { name: "t-replace", kind: "up", params: { size: 6 }, selection: { replace: [a] } },
  { name: "t-strict", kind: "up", params: { size: 6, strictB: true } },
  {
    name: "t-target-dbr",
    kind: "up",
    params: { size: 6, zone: "z2", dbr: true, strictB: true },
    selection: { target: [a] },
  },
  { name: "t-after-dbr", kind: "up", params: { size: 6, zone: "z2" } },
  { name: "t-removed-untargeted", kind: "up", params: { size: 7, zone: "z2", noC: true }, selection: { target: [a] } },
  {
    name: "t-removed-needed",
    kind: "up",
    params: { size: 8, zone: "z2", noComp: true },
    selection: { target: [a] },
  },
  {
    name: "t-removed-refused",
    kind: "up",
    params: { size: 8, zone: "z2", noComp: true, noC: true },
    selection: { target: [comp] },
  },
  { name: "t-removed-target", kind: "up", params: { size: 8, zone: "z2", noC: true }, selection: { target: [c] } },
  { name: "t-create-again", kind: "up", params: { size: 8, zone: "z2" } },
  { name: "t-refresh-target", kind: "refresh", selection: { target: [b] } },
  { name: "t-refresh-target-dependents", kind: "refresh", selection: { target: [b], targetDependents: true } },
  { name: "t-refresh-exclude", kind: "refresh", selection: { exclude: [b] } },
  { name: "t-protect", kind: "up", params: { size: 8, zone: "z2", protectA: true } },
  {
    name: "t-protected-replace",
    kind: "up",
    params: { size: 8, zone: "z2", protectA: true },
    selection: { replace: [a] },
  },
  { name: "t-destroy-target-refused", kind: "destroy", selection: { target: [b] } },
  { name: "t-destroy-protected", kind: "destroy", selection: { target: [a], targetDependents: true } },
  { name: "t-create-once-more", kind: "up", params: { size: 8, zone: "z2" } },
];
