// Contract: a record is put once, whole and durable, by exactly one of many rivals (invariant 2).
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
  it("lets one of many rivals win, and keeps the winner's content", async () => {
    const rivals = Array.from({ length: 20 }, (_, index) => store.putIfAbsent("log/1.json", `rival ${index}`));
    const results = await Promise.all(rivals);
    expect(results.filter(Boolean)).toHaveLength(1);
    expect((await store.get("log/1.json"))?.toString()).toBe(`rival ${results.indexOf(true)}`);
    expect(await readdir(join(folder, "staging", "log"))).toEqual(["1.json"]);
  });

  it("replaces by put, tells the absent, deletes twice", async () => {
    expect(await store.get("progress/a.json")).toBeNull();
    await store.put("progress/a.json", "1");
    await store.put("progress/a.json", "2");
    expect((await store.get("progress/a.json"))?.toString()).toBe("2");
    await store.delete("progress/a.json");
    await store.delete("progress/a.json");
    expect(await store.get("progress/a.json")).toBeNull();
  });

  it("lists in order, after a key, without what is half written", async () => {
    expect(await store.list("log")).toEqual([]);
    for (const name of ["3", "1", "2"]) await store.putIfAbsent(`log/${name}.json`, "");
    await writeFile(join(folder, "staging", "log", ".5-0.tmp"), "half");
    expect(await store.list("log")).toEqual(["log/1.json", "log/2.json", "log/3.json"]);
    expect(await store.list("log", "log/1.json")).toEqual(["log/2.json", "log/3.json"]);
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
