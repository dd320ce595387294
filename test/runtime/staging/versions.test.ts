// Contract: what a newer program has staged is refused by this one, told as newer and not as damaged, with the version to
// run; nothing is written or removed then. Invariant 2 (a staged record is never changed).
import { expect, it } from "vitest";
import type { SluiceError } from "../../../runtime/errors";
import { readFollowedSource } from "../../../runtime/gateway/staging-state";
import { readProgress } from "../../../runtime/staging/applier-progress";
import type { ObjectStore } from "../../../runtime/staging/object-store";
import { readResyncRequests } from "../../../runtime/staging/resync-request";
import { logKey, schemaKey, stagedCommitVersion } from "../../../runtime/staging/staged-commit";
import { openLogIdentity, readCommit, readTableSchema } from "../../../runtime/staging/staging-log";
import { tellWriter } from "../../../runtime/staging/staging-writer";
import { version } from "../../../runtime/version";
import { MemoryStore } from "../../support/faulty-store";

const newest = stagedCommitVersion.newest + 1;
const documents: [string, unknown, (store: ObjectStore) => Promise<unknown>][] = [
  [logKey(1), { version: newest, sequence: 1 }, (store) => readCommit(store, 1)],
  [logKey(1), { ...record(), events: [{ kind: "merge-hint" }] }, (store) => readCommit(store, 1)],
  ["log.json", { version: 2, logId: "a" }, openLogIdentity],
  [schemaKey("16384", 1), { version: 2 }, (store) => readTableSchema(store, "16384", 1)],
  ["progress/source.json", { version: 2 }, readFollowedSource],
  ["progress/orders.json", { version: 2 }, (store) => readProgress(store, "orders", "a")],
];

function record() {
  const lsn = "0/1";
  return {
    version: 1,
    sequence: 1,
    epoch: "e",
    startLsn: lsn,
    endLsn: lsn,
    stagedAt: "2026-11-29T00:00:00.000Z",
    tables: {},
  };
}

it.each(documents)("%s of a newer program", async (key, content, read) => {
  const store = new MemoryStore();
  await store.put(key, JSON.stringify(content));
  const before = new Map(store.objects);
  const error = (await read(store).catch((thrown: unknown) => thrown)) as SluiceError;
  expect(error.kind).toBe("staging");
  expect(error.message).toContain(`${key} in memory: has `);
  expect(error.message).toContain(`a newer version of Sluice wrote it, and this is ${version}`);
  expect(error.message).not.toContain("damaged");
  expect(error.remedy).toContain("in the version of the program that wrote it");
  expect(store.objects).toEqual(before);
});

it("the remedy names the gateway's version, which it tells once", async () => {
  const store = new MemoryStore();
  await tellWriter(store);
  expect(JSON.parse(String(await store.get("writer.json")))).toEqual({ version: 1, program: version });
  await store.put(logKey(1), JSON.stringify({ version: newest }));
  await store.put("writer.json", JSON.stringify({ version: 1, program: "7.8.9", since: "a later version" }));
  const error = (await readCommit(store, 1).catch((thrown: unknown) => thrown)) as SluiceError;
  expect(error.remedy).toBe(
    "Run this process in version 7.8.9 too (pulumi-sluice@7.8.9, the image pulumi-sluice:7.8.9); nothing is lost meanwhile.",
  );
});

it("a request of a newer program waits; a damaged one is removed", async () => {
  const store = new MemoryStore();
  await store.put("requests/resync/1.json", JSON.stringify({ version: 2, tables: "all" }));
  await store.put("requests/resync/2.json", "{");
  expect(await readResyncRequests(store)).toEqual([]);
  expect([...store.objects.keys()]).toEqual(["requests/resync/1.json"]);
});
