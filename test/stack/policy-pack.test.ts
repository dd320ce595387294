// Contract: `pulumi preview --policy-pack` with the example's pack refuses a stack that breaks a mandatory rule, warns of an
// advisory one, each at its resource, and lets a stack that is right pass. It needs the CLI: skipped where there is none on
// PATH (test/provider/policy/pack.test.ts asks the pack as the CLI does, everywhere).
// Invariant 6 (no secret leaves the place it was given to).
import { cpSync, mkdirSync, mkdtempSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { findCli } from "../engine/cli-driver";
import { openStack } from "../engine/deployer";
import { startPostgres, type TestPostgres } from "../support/postgres-server";

const root = process.cwd();
let server: TestPostgres;
let folder: string;

describe.skipIf(findCli(process.env.PATH) === undefined)("the policy pack on the CLI", () => {
  beforeAll(async () => {
    server = await startPostgres({ settings: { max_slot_wal_keep_size: "1GB" } });
    const client = await server.client();
    await client.query("CREATE TABLE item (id int PRIMARY KEY)");
    await client.end();
    folder = mkdtempSync(join(tmpdir(), "sluice-policy-pack-"));
    cpSync(join(root, "examples/gitops/policy"), join(folder, "policy"), { recursive: true });
    // As npm would lay it out.
    mkdirSync(join(folder, "node_modules"));
    symlinkSync(root, join(folder, "node_modules", "pulumi-sluice"));
    for (const name of ["@pulumi", "@types", "typescript"]) {
      symlinkSync(join(root, "node_modules", name), join(folder, "node_modules", name));
    }
  });

  afterAll(async () => {
    await server?.stop();
    if (folder !== undefined) rmSync(folder, { recursive: true, force: true });
  });

  async function violations(more: Record<string, unknown>) {
    const args = {
      source: server.source(),
      tables: ["public.item"],
      destination: { kind: "local", path: join(folder, "lake") },
      stateDir: join(folder, "state"),
      ...more,
    };
    const stack = await openStack({
      projectDir: join(root, "test/stack/program"),
      stack: "policy",
      stateFile: join(folder, "policy.json"),
      config: { "sluice-test:args": JSON.stringify(args) },
      env: { PULUMI_NODEJS_TRANSPILE_ONLY: "true" },
      policyPack: join(folder, "policy"),
    });
    const result = await stack.preview();
    const said = JSON.stringify(result);
    expect(said).not.toContain(server.password);
    const found = result.diagnostics.flatMap(({ severity, message, urn }) => {
      const policy = message.match(/^policy ([\w-]+): /)?.[1];
      return policy === undefined ? [] : [`${severity} ${policy} ${urn?.match(/sluice:(\w+)::/)?.[1]}`];
    });
    return { failed: result.failed, found: found.sort(), said };
  }

  it("refuses what a mandatory rule is broken by, and warns of the rest", async () => {
    const { failed, found, said } = await violations({
      source: { ...server.source(), password: server.password },
      applier: { onDelete: "drop" },
    });
    expect(found, said).toEqual([
      "error dropped-tables-protected IngestionPipeline",
      "error slot-retention-capped Connection",
      // Each has it in its part of the state.
      "warning password-by-reference Connection",
      "warning password-by-reference Gateway",
      "warning password-by-reference Publication",
      "warning password-by-reference ReplicationSlot",
    ]);
    expect(failed).toBe(true);
  });

  it("lets pass what is right", async () => {
    const { failed, found, said } = await violations({ connection: { uncappedSlotWal: "error" } });
    expect(found, said).toEqual([]);
    expect(failed, said).toBe(false);
  });
});
