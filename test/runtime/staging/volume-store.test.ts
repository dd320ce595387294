// Contract: over a volume whose requests and answers get lost, no acknowledged put is lost and put-if-absent has one winner
// (invariant 2); local copies keep to their bound; what lacks is told with its remedy, and no secret (invariant 6).
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { SluiceError } from "../../../runtime/errors";
import type { ObjectStore } from "../../../runtime/staging/object-store";
import { until } from "../../support/conditions";
import { DatabricksWorkspace, type RequestFault, type WorkspaceOptions } from "../../support/databricks-workspace";
import fc, { propertyRuns } from "../../support/property";
import { volumeStore } from "../../support/volume-staging";

const volume = "main.sluice.staging";
let folder: string;
let workspace: DatabricksWorkspace;
let token: string;

async function open(options: WorkspaceOptions = {}): Promise<void> {
  workspace = await DatabricksWorkspace.open(options);
  token = await workspace.addVolume(volume);
}

function store(name: string, cacheBytesMax?: number, client = {}): ObjectStore {
  const localPath = join(folder, name);
  const options = { retryBaseMs: 2, ...client };
  return volumeStore(workspace, { token, folder: "orders", localPath, cacheBytesMax, client: options });
}

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "sluice-volume-"));
});
afterEach(async () => {
  await workspace.close();
  await rm(folder, { recursive: true, force: true });
});

const faults: fc.Arbitrary<RequestFault> = fc.oneof(
  fc.constantFrom<RequestFault>(
    { kind: "status", status: 500 },
    { kind: "status", status: 503, body: "<html><title>upstream connect error</title></html>" },
    { kind: "status", status: 429, errorCode: "REQUEST_LIMIT_EXCEEDED" },
    { kind: "status", status: 409, errorCode: "ABORTED" },
    { kind: "status", status: 502, body: "" },
    { kind: "lost-request" },
    { kind: "lost-response" },
    { kind: "slow", ms: 20 },
  ),
  fc.record({ kind: fc.constant("late" as const), ms: fc.integer({ min: 1, max: 30 }) }),
  fc.record({ kind: fc.constant("cut" as const), bytes: fc.integer({ min: 0, max: 40_000 }) }),
);

describe("a volume with faults", () => {
  it("loses no acknowledged put, and lets one rival win", async () => {
    await open();
    let round = 0;
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.option(faults, { freq: 2 }), { minLength: 10, maxLength: 40 }),
        fc.integer({ min: 1, max: 4 }),
        async (plan, keys) => {
          const planned = [...plan];
          workspace.options.decide = () => planned.shift() ?? null;
          const prefix = `log${round++}`;
          const rivals = [store("a"), store("b"), store("c")];
          const won = new Map<string, string[]>();
          await Promise.all(
            rivals.flatMap((rival, number) =>
              Array.from({ length: keys }, async (_, index) => {
                const [key, content] = [`${prefix}/${index}.json`, `${round} of ${number}`];
                const isFirst = await rival.putIfAbsent(key, content);
                const found = (await rival.get(key))?.toString();
                // As the stager does: what is there may be of this very call.
                if (isFirst) expect(found).toBe(content);
                if (found === content) won.set(key, [...(won.get(key) ?? []), content]);
              }),
            ),
          );
          const file = `data${round}/${prefix}.parquet`;
          const bytes = Buffer.alloc(50_000, prefix);
          writeFileSync(await rivals[0].beginFile(file), bytes);
          await rivals[0].commitFile(file);
          expect(bytes.equals(readFileSync(await rivals[1].localPath(file)))).toBe(true);
          workspace.options.decide = undefined;
          for (let index = 0; index < keys; index++) {
            const key = `${prefix}/${index}.json`;
            expect(won.get(key), key).toHaveLength(1);
            expect((await rivals[0].get(key))?.toString()).toBe(won.get(key)?.[0]);
          }
          expect(await rivals[2].list(prefix)).toHaveLength(keys);
        },
      ),
      propertyRuns(12),
    );
  });

  it("takes a list in pages, some of them empty", async () => {
    let page = 0;
    await open({ pageEntriesMax: () => (page++ % 3 === 0 ? 0 : 2) });
    const records = store("a");
    const keys = Array.from({ length: 25 }, (_, index) => `log/${String(index).padStart(2, "0")}.json`);
    for (const key of keys) await records.putIfAbsent(key, "");
    expect(await records.list("log")).toEqual(keys);
    expect(page).toBeGreaterThan(25 / 2);
  });

  it("sends a file as it is, and leaves nothing of it here", async () => {
    await open();
    const records = store("a");
    writeFileSync(await records.beginFile("data/1.parquet"), Buffer.alloc(5_000_000, 1));
    await records.commitFile("data/1.parquet");
    expect(workspace.files.uploadedBytes).toBe(5_000_000);
    expect(readdirSync(join(folder, "a", "spool"))).toEqual([]);
    // What another process left is gone at the first file.
    writeFileSync(join(folder, "a", "spool", "left"), "");
    await store("a").beginFile("data/2.parquet");
    expect(readdirSync(join(folder, "a", "spool"))).toEqual([]);
  });

  it("makes a folder anew that somebody removed", async () => {
    await open({ requiresDirectories: true });
    const records = store("a");
    await records.put("progress/a.json", "1");
    await rm(workspace.files.local(`/Volumes/main/sluice/staging/orders/progress`), { recursive: true });
    await records.put("progress/a.json", "2");
    expect((await records.get("progress/a.json"))?.toString()).toBe("2");
  });
});

describe("local copies", () => {
  const bytes = 100_000;
  async function stage(records: ObjectStore, count: number): Promise<string[]> {
    const keys = Array.from({ length: count }, (_, index) => `data/${index}.parquet`);
    for (const key of keys) {
      writeFileSync(await records.beginFile(key), Buffer.alloc(bytes, key));
      await records.commitFile(key);
    }
    return keys;
  }
  const downloads = () => workspace.requests.filter(({ method, path }) => method === "GET" && path.includes("/data/"));

  it("keep to their bound, but for those in use (invariant 7)", async () => {
    await open();
    const records = store("a", 3 * bytes);
    const keys = await stage(records, 8);
    const paths = await Promise.all(keys.map((key) => records.localPath(key)));
    expect(paths.filter((path) => existsSync(path))).toHaveLength(8);
    for (const key of keys) records.releaseLocal(key);
    await until("the bound is kept", async () => readdirSync(join(folder, "a", "cache")).length === 3);
    // The last ones are here, the first ones are fetched again.
    expect(downloads()).toHaveLength(8);
    await records.localPath(keys[7]);
    expect(downloads()).toHaveLength(8);
    expect(readFileSync(await records.localPath(keys[0])).length).toBe(bytes);
    expect(downloads()).toHaveLength(9);
  });

  it("are fetched once for many", async () => {
    await open();
    const records = store("a");
    const [key] = await stage(records, 1);
    const paths = await Promise.all(Array.from({ length: 10 }, () => records.localPath(key)));
    expect(new Set(paths).size).toBe(1);
    expect(downloads()).toHaveLength(1);
  });
});

describe("what lacks", () => {
  const failureOf = (work: Promise<unknown>) => work.then(() => null).catch((thrown: unknown) => thrown as SluiceError);

  it("is told with the GRANT", async () => {
    await open();
    workspace.catalog.revoke(volume, "ingest@example.com", "WRITE_VOLUME");
    const failure = await failureOf(store("a").putIfAbsent("log/1.json", ""));
    expect(failure?.kind).toBe("permission");
    expect(failure?.message).toContain("/Volumes/main/sluice/staging/orders/log");
    expect(failure?.remedy).toContain("GRANT READ VOLUME, WRITE VOLUME ON VOLUME `main`.`sluice`.`staging` TO");
    expect(failure?.describe()).not.toContain(token);
  });

  it("is told as the volume that isn't there", async () => {
    await open();
    await rm(workspace.files.local("/Volumes/main/sluice/staging"), { recursive: true });
    const failure = await failureOf(store("a").putIfAbsent("log/1.json", ""));
    expect(failure?.kind).toBe("staging");
    expect(failure?.remedy).toContain("CREATE VOLUME `main`.`sluice`.`staging`");
  });

  it("passes, or is given up in time, when the workspace is away", async () => {
    await open({ decide: () => ({ kind: "status", status: 503 }) });
    const failure = await failureOf(store("a", undefined, { retryMsMax: 300 }).get("log/1.json"));
    expect(failure?.kind).toBe("unreachable");
  });

  it("is told when no answer comes", async () => {
    await open({ decide: () => ({ kind: "silent" }) });
    const failure = await failureOf(store("a", undefined, { idleMsMax: 100, retryMsMax: 300 }).get("log/1.json"));
    expect(failure?.kind).toBe("timeout");
  });
});
