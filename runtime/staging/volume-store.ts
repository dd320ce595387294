import { mkdir, rm } from "node:fs/promises";
import { join, posix } from "node:path";
import { apiErrorOf } from "../databricks/api-error";
import type { FilesApi } from "../databricks/files-api";
import { describeError, SluiceError } from "../errors";
import { LocalCache } from "./local-cache";
import type { ObjectStore } from "./object-store";

export interface VolumeStoreOptions {
  /** a folder of the volume: `/Volumes/<catalog>/<schema>/<volume>/…` */
  path: string;
  /** a local folder, of which nobody else writes into `spool` and `cache` */
  localPath: string;
  /** local copies that are kept beside those in use; default 2 GiB */
  cacheBytesMax?: number;
  /** files that are sent at a time; default 4 */
  uploadsMax?: number;
}

const cacheBytesDefault = 2 * 1024 ** 3;

/**
 * A folder of a Unity Catalog volume as object store, by the Files API. It takes a file whole or not at all, and put-if-absent
 * is its `overwrite=false`. Files are written to a local spool and sent as they are committed; they are read from local
 * copies.
 */
export class VolumeStore implements ObjectStore {
  readonly location: string;
  readonly filesAtOnce: number;
  private readonly spool: string;
  private readonly cache: LocalCache;
  private readonly folders = new Map<string, Promise<void>>();
  private opening: Promise<unknown> | null = null;

  constructor(
    private readonly files: FilesApi,
    { path, localPath, cacheBytesMax = cacheBytesDefault, uploadsMax = 4 }: VolumeStoreOptions,
  ) {
    this.location = path.replace(/\/+$/, "");
    this.filesAtOnce = uploadsMax;
    this.spool = join(localPath, "spool");
    this.cache = new LocalCache(join(localPath, "cache"), cacheBytesMax, (key, to) =>
      files.downloadTo(this.remotePath(key), to),
    );
  }

  remotePath(key: string): string {
    return posix.join(this.location, key);
  }

  get(key: string): Promise<Buffer | null> {
    return this.told("read", key, () => this.files.read(this.remotePath(key)));
  }

  put(key: string, content: Buffer | string): Promise<void> {
    return this.told("written", key, () => this.inFolder(key, () => this.files.write(this.remotePath(key), content)));
  }

  putIfAbsent(key: string, content: Buffer | string): Promise<boolean> {
    const write = () => this.files.writeIfAbsent(this.remotePath(key), content);
    return this.told("written", key, () => this.inFolder(key, write));
  }

  list(prefix: string, after?: string): Promise<string[]> {
    return this.told("listed", prefix, async () => {
      const entries = (await this.files.list(this.remotePath(prefix))) ?? [];
      return entries
        .filter(({ name, isDirectory }) => !isDirectory && !name.startsWith("."))
        .map(({ name }) => posix.join(prefix, name))
        .filter((key) => after === undefined || key > after)
        .sort();
    });
  }

  delete(key: string): Promise<void> {
    return this.told("deleted", key, async () => {
      this.cache.forget(key);
      await rm(this.spoolPath(key), { force: true });
      await this.files.delete(this.remotePath(key));
    });
  }

  async beginFile(key: string): Promise<string> {
    this.opening ??= this.emptySpool();
    await this.opening;
    return this.spoolPath(key);
  }

  commitFile(key: string): Promise<{ bytes: number }> {
    return this.told("written", key, async () => {
      const path = this.spoolPath(key);
      const sent = await this.inFolder(key, () => this.files.uploadFrom(this.remotePath(key), path));
      await rm(path, { force: true });
      return sent;
    });
  }

  localPath(key: string): Promise<string> {
    return this.told("read", key, () => this.cache.take(key));
  }

  releaseLocal(key: string): void {
    this.cache.release(key);
  }

  usedBytes(prefix: string): Promise<number> {
    return this.told("measured", prefix, async () => {
      const entries = (await this.files.list(this.remotePath(prefix))) ?? [];
      return entries.reduce((sum, { bytes }) => sum + bytes, 0);
    });
  }

  private spoolPath(key: string): string {
    return join(this.spool, key.replaceAll("/", "-"));
  }

  /** What a process before has left there was never named by a record. */
  private async emptySpool(): Promise<void> {
    await rm(this.spool, { recursive: true, force: true });
    await mkdir(this.spool, { recursive: true });
  }

  /** Not every way to a volume makes folders by itself; and somebody may have removed one. */
  private async inFolder<T>(key: string, write: () => Promise<T>): Promise<T> {
    const folder = posix.dirname(this.remotePath(key));
    await this.makeFolder(folder);
    try {
      return await write();
    } catch (error) {
      if (apiErrorOf(error)?.statusCode !== 404) throw error;
      this.folders.delete(folder);
      await this.makeFolder(folder);
      return write();
    }
  }

  private makeFolder(folder: string): Promise<void> {
    const known = this.folders.get(folder);
    if (known !== undefined) return known;
    const making = this.files.makeDirectory(folder);
    this.folders.set(folder, making);
    making.catch(() => this.folders.delete(folder));
    return making;
  }

  private async told<T>(what: string, key: string, work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (error) {
      throw this.failed(what, key, error);
    }
  }

  /** Kinds that mean something else to who knows the source only become `staging`. */
  private failed(what: string, key: string, cause: unknown): SluiceError {
    const message = `staging: ${this.remotePath(key)} can't be ${what}: ${cause instanceof Error ? cause.message : describeError(cause)}`;
    if (!(cause instanceof SluiceError)) {
      return new SluiceError("staging", message, {
        remedy: `Check free space and permissions of ${this.spool}.`,
        cause,
      });
    }
    const isOwn = cause.kind === "missing-object" || cause.kind === "conflict" || cause.kind === "protocol";
    return new SluiceError(isOwn ? "staging" : cause.kind, message, { remedy: cause.remedy, cause });
  }
}
