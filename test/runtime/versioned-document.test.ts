// Contract: a document that a newer program wrote is told from a damaged one, by its version, or by a name, kind or choice
// that isn't known; one that lacks something, or isn't JSON, is damaged. A configuration file of a newer provider is refused
// with its reason and the version to run; what an earlier provider didn't know has its default.
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { z } from "zod";
import { readConfigFile } from "../../runtime/config-file";
import { SluiceError } from "../../runtime/errors";
import { version } from "../../runtime/version";
import { readVersioned } from "../../runtime/versioned-document";

const schema = z.strictObject({
  version: z.literal([1, 2]),
  kind: z.enum(["plain", "odd"]),
  events: z.array(z.discriminatedUnion("kind", [z.strictObject({ kind: z.literal("row"), count: z.int() })])),
});
const good = { version: 1, kind: "plain", events: [{ kind: "row", count: 1 }] };
const read = (value: unknown) => readVersioned(typeof value === "string" ? value : JSON.stringify(value), schema, 2);

describe("a versioned document", () => {
  it("is read as it is", () => expect(read(good)).toEqual({ kind: "read", value: good }));

  it.each([
    ["a version", { version: 3, anything: true }, "version 3, where this program knows 2 at most"],
    ["a name", { ...good, colour: "red" }, "what this program doesn't know: colour"],
    ["a name further in", { ...good, events: [{ kind: "row", count: 1, at: 2 }] }, "know: events.0.at"],
    ["a kind", { ...good, events: [{ kind: "column", of: 1 }] }, 'know: events.0.kind "column"'],
    ["a choice", { ...good, kind: "new" }, 'know: kind "new"'],
  ])("with %s that isn't known is of a newer program", (_, value, what) => {
    expect(read(value)).toEqual({ kind: "newer", what: expect.stringContaining(what) });
  });

  it.each([
    ["isn't JSON", '{"version": 1, "kind'],
    ["lacks a part", { version: 1, kind: "plain" }],
    ["has a part of another type", { ...good, events: [{ kind: "row", count: "1" }] }],
    ["lacks a part and has a name that isn't known", { version: 1, kind: "plain", colour: "red" }],
    ["has no version", { ...good, version: undefined }],
    ["is no object", "5"],
  ])("that %s is damaged", (_, value) => expect(read(value).kind).toBe("damaged"));
});

describe("a configuration file", () => {
  const folder = mkdtempSync(join(tmpdir(), "sluice-config-"));
  const path = join(folder, "config.json");
  const least = {
    version: 1,
    role: "applier",
    id: "a",
    statusPath: "/s",
    stagingPath: "/staging",
    destination: { kind: "local", path: "/lake" },
  };
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  function failure(text: string): SluiceError {
    writeFileSync(path, text);
    try {
      readConfigFile(path);
    } catch (error) {
      return error as SluiceError;
    }
    throw new Error("it was read");
  }

  it("of an earlier provider has defaults where that knew nothing", () => {
    writeFileSync(path, JSON.stringify(least));
    expect(readConfigFile(path)).toMatchObject({ ...least, runsKeptMax: 50, trigger: { kind: "continuous" } });
  });

  it.each([
    ["a version", { ...least, version: 2 }, "version 2, where this program knows 1 at most"],
    ["a setting", { ...least, warp: 9 }, "doesn't know: warp"],
    ["a destination", { ...least, destination: { kind: "moon" } }, 'doesn\'t know: destination.kind "moon"'],
  ])("of a newer provider, with %s, is refused and says which runtime to take", (_, value, what) => {
    const error = failure(JSON.stringify(value));
    expect(error).toBeInstanceOf(SluiceError);
    expect(error.kind).toBe("config");
    expect(error.message).toContain(what);
    expect(error.message).toContain(`this runtime is ${version}`);
    expect(error.remedy).toContain("the image, of the version that wrote it");
  });

  it.each([
    ["isn't JSON", "{", /config\.json: not JSON: /],
    ["has a wrong value", JSON.stringify({ ...least, runsKeptMax: 0 }), /config\.json: runsKeptMax: Too small/],
  ])("that %s is told as that", (_, text, message) => expect(failure(text).message).toMatch(message));
});
