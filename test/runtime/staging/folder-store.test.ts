// Contract: what a folder as object store adds to that of all (object-store.test.ts): what is half written is no object.
import { mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { SluiceError } from "../../../runtime/errors";
import { openFolderStore } from "../../../runtime/staging/folder-store";
import type { ObjectStore } from "../../../runtime/staging/object-store";

let folder: string;
let store: ObjectStore;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "sluice-store-"));
  store = await openFolderStore(join(folder, "staging"));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

describe("folder store", () => {
  it("leaves nothing of rivals that lost", async () => {
    await Promise.all(Array.from({ length: 20 }, (_, index) => store.putIfAbsent("log/1.json", `rival ${index}`)));
    expect(await readdir(join(folder, "staging", "log"))).toEqual(["1.json"]);
  });

  it("lists nothing that is half written", async () => {
    await store.putIfAbsent("log/1.json", "");
    await writeFile(join(folder, "staging", "log", ".5-0.tmp"), "half");
    expect(await store.list("log")).toEqual(["log/1.json"]);
  });

  it("says which folder can't be written, and the remedy", async () => {
    await writeFile(join(folder, "file"), "");
    const error = await openFolderStore(join(folder, "file", "below")).catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(SluiceError);
    expect((error as SluiceError).kind).toBe("staging");
    expect((error as SluiceError).describe()).toContain(join(folder, "file", "below"));
    expect((error as SluiceError).remedy).toContain("stagingPath");
  });
});
