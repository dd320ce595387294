// Contract: who writes the tables is known before anything is declared; a mode that there isn't is an error that names those
// that there are.
import * as pulumi from "@pulumi/pulumi";
import { describe, expect, it } from "vitest";
import type { PipelineDestinationArgs } from "../../provider/declarative-pipeline";
import { writerOf } from "../../provider/destination";
import type { DestinationArgs } from "../../provider/ingestion-pipeline";

const local: DestinationArgs = { kind: "local", path: "/lake" };
const warehouse: DestinationArgs = { kind: "databricks", mode: "warehouse", catalog: "main", schema: "lake" };

describe("the tables are written", () => {
  it.each([local, warehouse, pulumi.output(local), Promise.resolve(warehouse)])("by the applier: %#", (destination) => {
    expect(writerOf(destination)).toEqual({ by: "applier", destination });
  });

  it("by the applier, where the mode is known only later", () => {
    expect(writerOf({ ...warehouse, mode: pulumi.output("warehouse" as const) }).by).toBe("applier");
  });

  it.each(["pipeline", "managed"] as const)("by Databricks: %s", (mode) => {
    const destination = { kind: "databricks", mode, catalog: "main", schema: "lake" } as PipelineDestinationArgs;
    expect(writerOf(destination)).toEqual({ by: mode, destination });
  });

  it("by nobody, in a mode that there isn't", () => {
    const destination = { ...warehouse, mode: "serverless" } as unknown as DestinationArgs;
    expect(() => writerOf(destination)).toThrow('has no mode "serverless"');
  });
});
