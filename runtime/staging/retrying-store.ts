import type { ObjectStore } from "./object-store";
import type { StorageRetry } from "./storage-retry";

/**
 * An object store whose calls are tried again. Files are not: one whose flush failed must be written again as a whole,
 * by who has its content, because a second flush may claim success for what the first has lost.
 */
export class RetryingStore implements ObjectStore {
  readonly location: string;
  readonly filesAtOnce: number;

  constructor(
    private readonly store: ObjectStore,
    private readonly retry: StorageRetry,
  ) {
    this.location = store.location;
    this.filesAtOnce = store.filesAtOnce;
  }

  get(key: string): Promise<Buffer | null> {
    return this.retry.run(() => this.store.get(key));
  }

  put(key: string, content: Buffer | string): Promise<void> {
    return this.retry.run(() => this.store.put(key, content));
  }

  putIfAbsent(key: string, content: Buffer | string): Promise<boolean> {
    return this.retry.run(() => this.store.putIfAbsent(key, content));
  }

  list(prefix: string, after?: string): Promise<string[]> {
    return this.retry.run(() => this.store.list(prefix, after));
  }

  /** Once: nothing depends on it. */
  delete(key: string): Promise<void> {
    return this.store.delete(key);
  }

  beginFile(key: string): Promise<string> {
    return this.store.beginFile(key);
  }

  commitFile(key: string): Promise<{ bytes: number }> {
    return this.store.commitFile(key);
  }

  localPath(key: string): Promise<string> {
    return this.retry.run(() => this.store.localPath(key));
  }

  releaseLocal(key: string): void {
    this.store.releaseLocal(key);
  }

  remotePath(key: string): string {
    return this.store.remotePath(key);
  }

  usedBytes(prefix: string): Promise<number | null> {
    return this.store.usedBytes(prefix);
  }
}
