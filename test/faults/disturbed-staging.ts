// Loaded before the runtime (node --require): its staging then fails, is slow and loses responses for a while, by a seed.
import * as folderStore from "../../runtime/staging/folder-store";
import type { ObjectStore } from "../../runtime/staging/object-store";
import { Random } from "../support/random";

const [seed, ms] = (process.env.SLUICE_DISTURBED_STAGING ?? "1:0").split(":").map(Number);
const random = new Random(seed);
const untilMs = Date.now() + ms;

function failure(): NodeJS.ErrnoException {
  return Object.assign(new Error("disturbed"), { code: random.choose(["EIO", "EAGAIN", "ENOSPC"]) });
}

/** Fails before the work or, its response lost, after it; or is slow. */
async function disturbed<T>(work: () => Promise<T>): Promise<T> {
  if (Date.now() > untilMs) return work();
  const fate = random.between(1, 20);
  if (fate <= 2) throw failure();
  if (fate <= 4) await new Promise((resolve) => setTimeout(resolve, random.between(10, 300)));
  const result = await work();
  if (fate >= 19) throw failure();
  return result;
}

const open = folderStore.openFolderStore;
Object.assign(folderStore, {
  async openFolderStore(path: string): Promise<ObjectStore> {
    const store = await open(path);
    return new Proxy(store, {
      get(target, name) {
        const value = Reflect.get(target, name) as unknown;
        if (typeof value !== "function") return value;
        // These do nothing that could fail.
        if (name === "releaseLocal" || name === "remotePath") return value.bind(target);
        return (...args: unknown[]) =>
          disturbed(() => (value as (...a: unknown[]) => Promise<unknown>).apply(target, args));
      },
    });
  },
});
