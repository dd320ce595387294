import { mkdir, rm } from "node:fs/promises";
import { join } from "node:path";

interface Entry {
  path: string;
  /** known once it is there */
  bytes: number;
  ready: Promise<unknown>;
  /** by how many it is being used */
  users: number;
}

/**
 * Local copies of objects that never change, at most `bytesMax` of them beside those in use: what was used longest ago goes
 * first. Its folder is its own, and emptied at the first use: what another process left may be half a file.
 */
export class LocalCache {
  /** in the order of their last use */
  private readonly entries = new Map<string, Entry>();
  private bytes = 0;
  private opening: Promise<unknown> | null = null;
  private fetches = 0;

  constructor(
    private readonly folder: string,
    private readonly bytesMax: number,
    /** brings the object into a file; what is there of it when it fails is removed */
    private readonly fetch: (key: string, path: string) => Promise<{ bytes: number }>,
  ) {}

  /** A local path that holds until `release`, one for each call. */
  async take(key: string): Promise<string> {
    this.opening ??= this.open();
    await this.opening;
    const known = this.entries.get(key);
    const entry = known ?? this.begin(key);
    entry.users++;
    this.entries.delete(key);
    this.entries.set(key, entry);
    try {
      await entry.ready;
      return entry.path;
    } catch (error) {
      entry.users--;
      throw error;
    }
  }

  release(key: string): void {
    const entry = this.entries.get(key);
    if (entry === undefined || entry.users === 0) return;
    entry.users--;
    this.shrink();
  }

  /** The object is gone. */
  forget(key: string): void {
    const entry = this.entries.get(key);
    if (entry !== undefined && entry.users === 0) this.drop(key, entry);
  }

  private async open(): Promise<void> {
    await rm(this.folder, { recursive: true, force: true });
    await mkdir(this.folder, { recursive: true });
  }

  private begin(key: string): Entry {
    // A name of its own: the file of an entry before may be on its way out.
    const path = join(this.folder, `${this.fetches++}-${key.replaceAll("/", "-")}`);
    const entry: Entry = { path, bytes: 0, users: 0, ready: Promise.resolve() };
    entry.ready = this.fetch(key, path)
      .then(({ bytes }) => {
        entry.bytes = bytes;
        this.bytes += bytes;
        this.shrink();
      })
      .catch(async (error: unknown) => {
        if (this.entries.get(key) === entry) this.entries.delete(key);
        await rm(path, { force: true });
        throw error;
      });
    this.entries.set(key, entry);
    return entry;
  }

  private shrink(): void {
    for (const [key, entry] of this.entries) {
      if (this.bytes <= this.bytesMax) return;
      if (entry.users === 0) this.drop(key, entry);
    }
  }

  private drop(key: string, entry: Entry): void {
    this.entries.delete(key);
    this.bytes -= entry.bytes;
    rm(entry.path, { force: true }).catch(() => {});
  }
}
