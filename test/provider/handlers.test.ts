// Contract: dispatch is the entry that code stored in states calls: it takes Pulumi's arguments with the engine's own
// keys in them, gives results without an undefined, and errors with the remedy in their message.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { dispatch, EngineError } from "../../provider/handlers";
import { PartialFailure } from "../../provider/lifecycle/lifecycle";
import { SluiceError } from "../../runtime/errors";

let stateDir: string;

beforeEach(() => {
  stateDir = mkdtempSync(join(tmpdir(), "sluice-handlers-"));
});

afterEach(() => rmSync(stateDir, { recursive: true, force: true }));

const news = () => ({
  __provider: "code",
  deploymentId: "a",
  stateDir,
  stagingPath: join(stateDir, "staging"),
  stagingIncarnation: "1",
  destination: { kind: "local", path: join(stateDir, "lake") },
});

type Checked = { inputs: Record<string, unknown>; failures: unknown[] };
const check = async () => (await dispatch("IngestionPipeline", "check", [{}, news()])) as Checked;

describe("dispatch", () => {
  it("keeps the engine's own keys from a lifecycle", async () => {
    const { inputs, failures } = await check();
    expect(failures).toEqual([]);
    expect(inputs).not.toHaveProperty("__provider");
    const olds = { ...inputs, __provider: "older code" };
    expect(await dispatch("IngestionPipeline", "diff", ["a", olds, { ...inputs, __provider: "code" }])).toEqual({
      changes: false,
      replaces: [],
      deleteBeforeReplace: false,
    });
  });

  it("gives no undefined anywhere", async () => {
    const { inputs } = await check();
    const read = await dispatch("IngestionPipeline", "read", [
      "a",
      { ...inputs, extra: undefined, list: [{ a: undefined }] },
    ]);
    expect(JSON.parse(JSON.stringify(read))).toStrictEqual(read);
  });

  it("puts the remedy into an error's message", async () => {
    const source = { host: "127.0.0.1", port: 1, database: "d", user: "u", sslMode: "disable", connectTimeoutMs: 500 };
    const props = { source, publicationName: "p", pipelineId: "x" };
    await expect(dispatch("Publication", "delete", ["p", props])).rejects.toThrow(/remedy: [\s\S]*DROP PUBLICATION/);
  });

  it("forgets what can't be deleted where that is forced, and says what is left", async () => {
    const source = { host: "127.0.0.1", port: 1, database: "d", user: "u", sslMode: "disable", connectTimeoutMs: 500 };
    const slot = { source, slotName: "left", forceDelete: true };
    const said = vi.spyOn(console, "log").mockImplementation(() => {});
    try {
      await dispatch("ReplicationSlot", "delete", ["left", slot]);
      expect(said.mock.calls.flat().join()).toMatch(/left is forgotten [\s\S]*pg_drop_replication_slot\('left'\)/);
      process.env.SLUICE_FORCE_DELETE = "true";
      await dispatch("Publication", "delete", ["p", { source, publicationName: "p", pipelineId: "x" }]);
      expect(said.mock.calls.flat().join()).toMatch(/DROP PUBLICATION/);
    } finally {
      delete process.env.SLUICE_FORCE_DELETE;
      said.mockRestore();
    }
    await expect(dispatch("ReplicationSlot", "delete", ["left", { ...slot, forceDelete: false }])).rejects.toThrow();
  });

  it("keeps what a failed create or update has made, with the provider's code", async () => {
    const failure = new PartialFailure(new SluiceError("timeout", "too late", { remedy: "Wait." }), "a", {
      b: 1,
      c: undefined,
    });
    const told = `${failure.describe()}\n  error: timeout`;
    expect(new EngineError(failure, { __provider: "code" })).toMatchObject({
      ...{ message: told, id: "a", reasons: [told] },
      properties: { b: 1, __provider: "code" },
    });
    expect(new EngineError(new Error("nothing was made"), {})).not.toHaveProperty("id");
  });

  it("says what to do about a kind that it doesn't know", async () => {
    await expect(dispatch("Teapot", "create", [{}])).rejects.toThrow(/knows no resource Teapot[\s\S]*remedy: /);
    await expect(dispatch("toString", "create", [{}])).rejects.toThrow(/knows no resource/);
  });
});
