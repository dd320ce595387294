// Contract: `sluice costs` makes of a preview's JSON a Markdown table with the cost of each change, a row for each resource
// that changes, in which no name from the source can end a cell, mention anybody or be HTML.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it, vi } from "vitest";
import { costReport, previewSchema } from "../../../provider/commands/cost-report";
import { costs } from "../../../provider/commands/costs";

const folder = mkdtempSync(join(tmpdir(), "sluice-costs-"));
afterAll(() => {
  vi.restoreAllMocks();
  rmSync(folder, { recursive: true, force: true });
});

const urn = (kind: string) =>
  `urn:pulumi:dev::shop::sluice:index:PostgresIngestion$pulumi-nodejs:dynamic/sluice:${kind}::orders`;
const step = (op: string, kind: string, changeCost?: unknown) => ({
  op,
  urn: urn(kind),
  newState: { type: `pulumi-nodejs:dynamic/sluice:${kind}`, inputs: { changeCost, tables: [] } },
});
const copied = { tables: ['"public"."a|b"', '"public"."<i>@all"'], rows: 1200, bytes: 2048 };
const preview = {
  config: {},
  steps: [
    { op: "same", urn: "urn:pulumi:dev::shop::pulumi:pulumi:Stack::shop-dev", newState: {} },
    step("same", "Connection", { kind: "none", because: [] }),
    step("create", "Connection"),
    step("update", "Publication", { kind: "resnapshot", because: ["tables"], ...copied }),
    step("update", "Gateway", { kind: "restart", because: ["batch"] }),
    step("replace", "ReplicationSlot", {
      kind: "newSlot",
      because: ["slotName"],
      tables: null,
      rows: null,
      bytes: null,
    }),
    step("create-replacement", "ReplicationSlot", { kind: "none", because: [] }),
    step("create", "IngestionPipeline", { kind: "of a later version" }),
    { op: "delete", urn: urn("IngestionPipeline"), oldState: {} },
    { op: "create", urn: "urn:pulumi:dev::shop::aws:s3/bucket:Bucket::lake", newState: { inputs: {} } },
  ],
};

describe("the table", () => {
  it("has a row for each change", () => {
    expect(costReport(previewSchema.parse(preview)).split("\n")).toEqual([
      "### What this change costs",
      "",
      "| resource | | cost |",
      "|---|---|---|",
      "| Connection orders | create | looks at the source; makes nothing |",
      '| Publication orders | update | tables: "public"."a\\|b", "public"."&lt;i>&#64;all" are copied (about 1,200 rows, 2.0 KiB) while the others go on |',
      "| Gateway orders | update | batch: its process restarts; changes wait meanwhile, nothing is copied again |",
      "| ReplicationSlot orders | replace | slotName: a new one in its place; its tables are copied |",
      "| IngestionPipeline orders | create | not told |",
      "| IngestionPipeline orders | delete | removed, with what it made on the source and on this machine |",
      "",
    ]);
  });

  it("is made of what the CLI wrote (3.260, without the provider's code)", () => {
    const written = JSON.parse(readFileSync(join(process.cwd(), "test/fixtures/cli-preview.json"), "utf8"));
    expect(costReport(previewSchema.parse(written)).split("\n").slice(2)).toEqual([
      "| resource | | cost |",
      "|---|---|---|",
      "| Connection ingestion | create | looks at the source; makes nothing |",
      ...["Publication", "ReplicationSlot", "Gateway", "IngestionPipeline"].map(
        (kind) => `| ${kind} ingestion | create | new; its tables are copied |`,
      ),
      "",
    ]);
  });

  it("says when nothing changes, and when nothing is known", () => {
    expect(costReport(previewSchema.parse({}))).toContain("Nothing: no resource of Sluice changes.");
    const diagnostics = [
      { severity: "error", message: "host can't be reached\n" },
      { severity: "info", message: "x" },
    ];
    const failed = costReport(previewSchema.parse({ diagnostics }));
    expect(failed).toContain("Not known: the preview failed.\n\n```\nhost can't be reached\n```\n");
  });
});

it("the command reads the file that pulumi wrote, and repeats none that it can't", async () => {
  const printed: string[] = [];
  vi.spyOn(process.stdout, "write").mockImplementation((text) => printed.push(String(text)) > 0);
  const file = join(folder, "preview.json");
  writeFileSync(file, JSON.stringify(preview));
  expect(await costs.run(["--preview", file])).toBe(0);
  expect(await costs.run(["--preview", file, "--json"])).toBe(0);
  expect(JSON.parse(printed[1])).toEqual({ markdown: printed[0] });
  writeFileSync(file, '{"secret": hunter2}');
  await expect(costs.run(["--preview", file])).rejects.toThrow(/: it isn't JSON$/);
  await expect(costs.run([])).rejects.toThrow("--preview is missing");
});
