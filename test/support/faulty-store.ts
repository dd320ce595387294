import { mkdtempSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, dirname, join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { SluiceError } from "../../runtime/errors";
import type { ObjectStore } from "../../runtime/staging/object-store";

export type StoreOperation = Exclude<keyof ObjectStore, "location" | "filesAtOnce" | "releaseLocal" | "remotePath">;

/** What befalls one call. */
export type StoreFault =
  /** the server answers so, or the system; nothing is done */
  | { kind: "error"; error: { code: string } | { statusCode: number } }
  /** it is done, and then the answer is lost */
  | { kind: "lost-response" }
  | { kind: "slow"; ms: number };

/** Objects in memory, with true put-if-absent. Files lie in a folder of its own until `close`. */
export class MemoryStore implements ObjectStore {
  readonly location = "memory:";
  readonly filesAtOnce = 1;
  readonly objects = new Map<string, Buffer>();
  private readonly folder = mkdtempSync(join(tmpdir(), "sluice-memory-store-"));

  async get(key: string): Promise<Buffer | null> {
    return this.objects.get(key) ?? null;
  }
  async put(key: string, content: Buffer | string): Promise<void> {
    this.objects.set(key, Buffer.from(content));
  }
  async putIfAbsent(key: string, content: Buffer | string): Promise<boolean> {
    if (this.objects.has(key)) return false;
    this.objects.set(key, Buffer.from(content));
    return true;
  }
  async list(prefix: string, after = ""): Promise<string[]> {
    return [...this.objects.keys()].filter((key) => dirname(key) === prefix && key > after).sort();
  }
  async delete(key: string): Promise<void> {
    this.objects.delete(key);
    rmSync(await this.localPath(key), { force: true });
  }
  async beginFile(key: string): Promise<string> {
    return this.localPath(key);
  }
  async commitFile(key: string): Promise<{ bytes: number }> {
    return { bytes: statSync(await this.localPath(key)).size };
  }
  async localPath(key: string): Promise<string> {
    return join(this.folder, basename(key));
  }
  releaseLocal(): void {}
  remotePath(key: string): string {
    return `memory:${key}`;
  }
  async usedBytes(): Promise<number | null> {
    return null;
  }
  close(): void {
    rmSync(this.folder, { recursive: true, force: true });
  }
}

/** A store to whose calls `decide` does what it wants: errors, lost responses, slowness, a full disk. */
export function faultyStore(
  store: ObjectStore,
  decide: (operation: StoreOperation, key: string) => StoreFault | null,
): ObjectStore {
  const call = async <T>(operation: StoreOperation, key: string, work: () => Promise<T>): Promise<T> => {
    const fault = decide(operation, key);
    switch (fault?.kind) {
      case undefined:
        return work();
      case "slow":
        await delay(fault.ms);
        return work();
      case "error":
        throw storeError(operation, key, fault.error);
      case "lost-response":
        await work();
        throw storeError(operation, key, { code: "ETIMEDOUT" });
    }
  };
  return {
    location: store.location,
    filesAtOnce: store.filesAtOnce,
    releaseLocal: (key) => store.releaseLocal(key),
    remotePath: (key) => store.remotePath(key),
    get: (key) => call("get", key, () => store.get(key)),
    put: (key, content) => call("put", key, () => store.put(key, content)),
    putIfAbsent: (key, content) => call("putIfAbsent", key, () => store.putIfAbsent(key, content)),
    list: (prefix, after) => call("list", prefix, () => store.list(prefix, after)),
    delete: (key) => call("delete", key, () => store.delete(key)),
    beginFile: (key) => call("beginFile", key, () => store.beginFile(key)),
    commitFile: (key) => call("commitFile", key, () => store.commitFile(key)),
    localPath: (key) => call("localPath", key, () => store.localPath(key)),
    usedBytes: (prefix) => call("usedBytes", prefix, () => store.usedBytes(prefix)),
  };
}

function storeError(operation: StoreOperation, key: string, cause: object): SluiceError {
  return new SluiceError("staging", `${operation} of ${key} failed: ${JSON.stringify(cause)}`, {
    remedy: "Wait.",
    cause: Object.assign(new Error("injected"), cause),
  });
}
