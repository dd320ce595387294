// Contract: what earlier versions have staged and applied is read and gone on with: the present applier makes of their
// staging log the rows that the source had, from nothing and where their applier was half way; the present gateway starts
// from where theirs ended, with no table copied again. Fixtures: test/fixtures/staging, recorded by
// test/lanes/record-staging.ts. Invariants 3 (each change exactly once) and 4 (the destination equals the source).
import { cpSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { runApplier } from "../../../runtime/applier/applier";
import { applierConfigSchema, gatewayConfigSchema } from "../../../runtime/config";
import { readFollowedSource, readStagingState, stagedPosition } from "../../../runtime/gateway/staging-state";
import { parseLsn } from "../../../runtime/postgres/lsn";
import { openFolderStore } from "../../../runtime/staging/folder-store";
import { version } from "../../../runtime/version";
import { readLines } from "../../support/golden-tables";
import { readRecords } from "../../support/staging-replay";

const fixtures = resolve(__dirname, "../../fixtures/staging");
const versions = readdirSync(fixtures);
let folder: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "sluice-released-"));
});

afterEach(() => rmSync(folder, { recursive: true, force: true }));

it("there are fixtures", () => expect(versions.length).toBeGreaterThan(2));

describe.each(versions)("of version %s", (name) => {
  const fixture = join(fixtures, name);
  const staging = () => join(folder, "staging");
  const lake = () => join(folder, "lake");
  beforeEach(() => cpSync(join(fixture, "staging"), staging(), { recursive: true }));

  async function apply(): Promise<void> {
    const config = applierConfigSchema.parse({
      version: 1,
      role: "applier",
      id: "test",
      statusPath: join(folder, "status.json"),
      stagingPath: staging(),
      destination: { kind: "local", path: lake() },
      trigger: { kind: "once" },
    });
    await runApplier(config, { signal: new AbortController().signal, version });
  }

  async function expectRows(): Promise<void> {
    const tables = readdirSync(fixture).filter((file) => file.endsWith(".rows"));
    expect(tables.length).toBe(3);
    for (const file of tables) {
      const lines = await readLines(join(lake(), "public", file.slice(0, -".rows".length)));
      expect(lines, file).toEqual(readFileSync(join(fixture, file), "utf8").split("\n"));
    }
  }

  it("the staging log is applied from its beginning", async () => {
    await apply();
    await expectRows();
  });

  it("the tables are gone on with from where their applier was", async () => {
    cpSync(join(fixture, "lake"), lake(), { recursive: true });
    const before = readdirSync(join(lake(), "public", "item", "_delta_log"));
    await apply();
    await expectRows();
    const after = readdirSync(join(lake(), "public", "item", "_delta_log"));
    expect(after.length).toBeGreaterThan(before.length);
  });

  it("a gateway starts where the log ends, with every table as it was", async () => {
    const records = readRecords(staging());
    const store = await openFolderStore(staging());
    const types = gatewayConfigSchema.shape.types.parse(undefined);
    const state = await readStagingState(store, { types, beforeImages: [] });
    const last = records[records.length - 1];
    expect(state).toMatchObject({ sequence: last.sequence, statesChanged: false });
    expect(stagedPosition(state)! >= parseLsn(last.endLsn)).toBe(true);
    expect(state.tables.map(({ name: table, snapshotComplete }) => [table, snapshotComplete]).sort()).toEqual([
      ["entry", true],
      ["item", true],
      ["scratch", true],
    ]);
    expect(state.tables.every(({ capture }) => capture.kind === "capturing")).toBe(true);
    const followed = existsSync(join(staging(), "progress", "source.json"));
    expect((await readFollowedSource(store)) !== null).toBe(followed);
  });
});
