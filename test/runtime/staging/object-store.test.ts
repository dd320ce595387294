// Contract: in every kind of staging a record is put once, whole, by exactly one of many rivals (invariant 2).
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { openFolderStore } from "../../../runtime/staging/folder-store";
import type { ObjectStore } from "../../../runtime/staging/object-store";
import { DatabricksWorkspace } from "../../support/databricks-workspace";
import { volumeStore } from "../../support/volume-staging";

let folder: string;
let workspace: DatabricksWorkspace | undefined;
let store: ObjectStore;

async function openVolume(requiresDirectories: boolean): Promise<ObjectStore> {
  // Pages of three entries: every list here is longer.
  workspace = await DatabricksWorkspace.open({ pageEntriesMax: () => 3, requiresDirectories });
  const token = await workspace.addVolume("main.sluice.staging");
  return volumeStore(workspace, { token, localPath: join(folder, "local"), folder: "orders" });
}

const kinds: [string, () => Promise<ObjectStore>][] = [
  ["a folder", () => openFolderStore(join(folder, "staging"))],
  ["a volume", () => openVolume(false)],
  ["a volume whose directories don't come by themselves", () => openVolume(true)],
];

describe.each(kinds)("%s", (_name, open) => {
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), "sluice-store-"));
    store = await open();
  });
  afterEach(async () => {
    await workspace?.close();
    workspace = undefined;
    await rm(folder, { recursive: true, force: true });
  });

  it("lets one of many rivals win, and keeps the winner's content", async () => {
    const rivals = Array.from({ length: 20 }, (_, index) => store.putIfAbsent("log/1.json", `rival ${index}`));
    const results = await Promise.all(rivals);
    expect(results.filter(Boolean)).toHaveLength(1);
    expect((await store.get("log/1.json"))?.toString()).toBe(`rival ${results.indexOf(true)}`);
    expect(await store.list("log")).toEqual(["log/1.json"]);
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

  it("lists in order, after a key, nothing below", async () => {
    expect(await store.list("requests/resync")).toEqual([]);
    const keys = Array.from({ length: 10 }, (_, index) => `log/${index}.json`);
    for (const key of [...keys].reverse()) await store.putIfAbsent(key, "");
    await store.putIfAbsent("log/below/1.json", "");
    expect(await store.list("log")).toEqual(keys);
    expect(await store.list("log", "log/7.json")).toEqual(keys.slice(8));
  });

  it("takes a file once it is committed, gives it as a local file, and measures it", async () => {
    const content = Buffer.alloc(3_000_000, "sluice");
    for (const key of ["data/a-1.parquet", "data/b-1.parquet"]) {
      await writeFile(await store.beginFile(key), content);
      expect(await store.commitFile(key)).toEqual({ bytes: content.length });
    }
    const path = await store.localPath("data/a-1.parquet");
    expect(content.equals(await readFile(path))).toBe(true);
    store.releaseLocal("data/a-1.parquet");
    expect(await store.usedBytes("data")).toBe(2 * content.length);
    expect(await store.usedBytes("elsewhere")).toBe(0);
    await store.delete("data/a-1.parquet");
    expect(await store.list("data")).toEqual(["data/b-1.parquet"]);
    await expect(store.localPath("data/a-1.parquet")).rejects.toMatchObject({ kind: "staging" });
  });

  it("names where other programs find an object", async () => {
    expect(store.remotePath("data/a.parquet")).toBe(`${store.location}/data/a.parquet`);
  });
});
