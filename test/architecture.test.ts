// Contract: imports point one way (docs/ARCHITECTURE.md): destination → staging → change → postgres; only gateway and
// applier compose them; the provider knows the runtime's contracts only, and the runtime nothing of the provider.
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";
import { describe, expect, it } from "vitest";

const root = resolve(__dirname, "..");
const contracts = [
  "errors",
  "error-catalogue",
  "byte-text",
  "config",
  "process-config",
  "gateway-config",
  "applier-config",
  "staging-config",
  "warehouse-config",
  "config-file",
  "versioned-document",
  "status",
  "secret-reference",
  "source-config",
  "databricks-config",
  "version",
  "usage",
  "failpoint",
  "table-options",
  "table-options-change",
  "schedule",
];
const supervision = [
  "supervisor",
  "process-identity",
  "app-process",
  "job-process",
  "machine-process",
  "malloc-settings",
];

/** Which parts of runtime/ each part may import, besides itself and the contracts. */
const allowed: Record<string, string[]> = {
  contracts: [],
  postgres: [],
  change: ["postgres"],
  databricks: [],
  staging: ["postgres", "change", "databricks"],
  destination: ["postgres", "change", "databricks", "staging"],
  operate: [],
  gateway: ["postgres", "change", "staging", "operate"],
  applier: ["postgres", "change", "staging", "databricks", "destination", "operate"],
  supervisor: ["operate", "commands", "databricks"],
  commands: ["postgres", "change", "databricks", "staging", "operate"],
  main: ["gateway", "applier", "commands", "operate", "supervisor"],
  index: [],
};

function sources(folder: string): string[] {
  return readdirSync(join(root, folder), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && entry.name.endsWith(".ts"))
    .map((entry) => relative(root, join(entry.parentPath, entry.name)));
}

function imports(file: string): string[] {
  const text = readFileSync(join(root, file), "utf8");
  const specifiers = [...text.matchAll(/(?:from|import\(|require\()\s*"(\.[^"]*)"/g)].map((match) => match[1]);
  return specifiers.map((specifier) => relative(root, resolve(root, dirname(file), specifier)));
}

/** `runtime/gateway/capture` → gateway; `runtime/errors` → contracts. */
function part(path: string): string {
  const [, second] = path.split("/");
  const name = second.replace(/\.[jt]s$/, "");
  if (contracts.includes(name)) return "contracts";
  return supervision.includes(name) ? "supervisor" : name;
}

describe("imports", () => {
  const runtime = sources("runtime");

  it("finds the sources", () => {
    expect(runtime.length).toBeGreaterThan(20);
  });

  it.each(runtime)("%s imports only what is below it", (file) => {
    const own = part(file);
    expect(Object.keys(allowed)).toContain(own);
    for (const target of imports(file)) {
      expect(target, `${file} imports ${target}`).toMatch(/^runtime\//);
      expect(["contracts", own, ...allowed[own]], `${file} imports ${target}`).toContain(part(target));
    }
  });

  it.each(sources("provider"))(
    "%s imports the provider, the contracts and administration of PostgreSQL and workspaces only",
    (file) => {
      for (const target of imports(file)) {
        if (target.startsWith("provider/")) continue;
        // The package's bin passes on what isn't administration.
        if (file === "provider/commands/main.ts" && target === "runtime/main.js") continue;
        expect(["contracts", "postgres", "databricks", "supervisor"], `${file} imports ${target}`).toContain(
          part(target),
        );
      }
    },
  );

  it.each(
    sources("provider").filter(
      (file) =>
        file.startsWith("provider/lifecycle/") ||
        file.startsWith("provider/deploy/") ||
        file.startsWith("provider/commands/") ||
        file.startsWith("provider/postgres/"),
    ),
  )("%s knows nothing of Pulumi", (file) => {
    expect(readFileSync(join(root, file), "utf8")).not.toMatch(/from "@pulumi\//);
  });
});
