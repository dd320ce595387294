import { constants } from "node:fs";
import { access, link, mkdir, open, readdir, readFile, rename, rm, stat } from "node:fs/promises";
import { dirname, join, posix } from "node:path";
import { SluiceError } from "../errors";
import type { ObjectStore } from "./object-store";

/**
 * A folder as object store. Files are written beside their place, flushed to disk and then linked (put-if-absent:
 * link(2) fails when the name exists) or renamed (replace); the folder is flushed too.
 * @throws SluiceError `staging` when the folder can't be made or written.
 */
export async function openFolderStore(path: string): Promise<ObjectStore> {
  try {
    await mkdir(path, { recursive: true });
    await access(path, constants.R_OK | constants.W_OK);
  } catch (cause) {
    throw new SluiceError("staging", `staging folder ${path} can't be written: ${reason(cause)}`, {
      remedy: `Make ${path} writable for the user that runs the gateway, or choose another stagingPath.`,
      cause,
    });
  }
  return new FolderStore(path);
}

class FolderStore implements ObjectStore {
  readonly filesAtOnce = 1;
  private temporaryCount = 0;
  private readonly madeFolders = new Set<string>();

  constructor(readonly location: string) {}

  async get(key: string): Promise<Buffer | null> {
    try {
      return await readFile(this.path(key));
    } catch (error) {
      if (isAbsent(error)) return null;
      throw this.failed("read", key, error);
    }
  }

  async put(key: string, content: Buffer | string): Promise<void> {
    const temporary = await this.writeTemporary(key, content);
    try {
      await rename(temporary, this.path(key));
      await flushFolder(dirname(this.path(key)));
    } catch (error) {
      await rm(temporary, { force: true }).catch(() => {});
      throw this.failed("written", key, error);
    }
  }

  async putIfAbsent(key: string, content: Buffer | string): Promise<boolean> {
    const temporary = await this.writeTemporary(key, content);
    try {
      const isNew = await link(temporary, this.path(key)).then(
        () => true,
        (error: unknown) => {
          if (hasCode(error, "EEXIST")) return false;
          throw error;
        },
      );
      await flushFolder(dirname(this.path(key)));
      return isNew;
    } catch (error) {
      throw this.failed("written", key, error);
    } finally {
      await rm(temporary, { force: true }).catch(() => {});
    }
  }

  async list(prefix: string, after?: string): Promise<string[]> {
    try {
      const entries = await readdir(this.path(prefix), { withFileTypes: true });
      return entries
        .filter((entry) => entry.isFile() && !entry.name.startsWith("."))
        .map((entry) => posix.join(prefix, entry.name))
        .filter((key) => after === undefined || key > after)
        .sort();
    } catch (error) {
      if (isAbsent(error)) return [];
      throw this.failed("listed", prefix, error);
    }
  }

  async delete(key: string): Promise<void> {
    try {
      await rm(this.path(key), { force: true });
    } catch (error) {
      throw this.failed("deleted", key, error);
    }
  }

  async beginFile(key: string): Promise<string> {
    await this.makeFolder(dirname(this.path(key)));
    return this.path(key);
  }

  async commitFile(key: string): Promise<{ bytes: number }> {
    try {
      const file = await open(this.path(key), "r+");
      try {
        await file.sync();
        await flushFolder(dirname(this.path(key)));
        return { bytes: (await file.stat()).size };
      } finally {
        await file.close();
      }
    } catch (error) {
      throw this.failed("flushed", key, error);
    }
  }

  async localPath(key: string): Promise<string> {
    try {
      await stat(this.path(key));
    } catch (error) {
      throw this.failed("read", key, error);
    }
    return this.path(key);
  }

  /** It is the object itself. */
  releaseLocal(): void {}

  remotePath(key: string): string {
    return this.path(key);
  }

  async usedBytes(prefix: string): Promise<number> {
    try {
      let bytes = 0;
      for (const name of await readdir(this.path(prefix))) {
        // Files come and go meanwhile.
        bytes += await stat(join(this.path(prefix), name)).then(
          ({ size }) => size,
          () => 0,
        );
      }
      return bytes;
    } catch (error) {
      if (isAbsent(error)) return 0;
      throw this.failed("measured", prefix, error);
    }
  }

  private async writeTemporary(key: string, content: Buffer | string): Promise<string> {
    const folder = dirname(this.path(key));
    const temporary = join(folder, `.${process.pid}-${this.temporaryCount++}.tmp`);
    try {
      await this.makeFolder(folder);
      const file = await open(temporary, "w");
      try {
        await file.writeFile(content);
        await file.sync();
      } finally {
        await file.close();
      }
      return temporary;
    } catch (error) {
      await rm(temporary, { force: true }).catch(() => {});
      throw this.failed("written", key, error);
    }
  }

  private async makeFolder(folder: string): Promise<void> {
    if (this.madeFolders.has(folder)) return;
    await mkdir(folder, { recursive: true });
    this.madeFolders.add(folder);
  }

  private path(key: string): string {
    return join(this.location, key);
  }

  private failed(what: string, key: string, cause: unknown): SluiceError {
    return new SluiceError("staging", `staging: ${this.path(key)} can't be ${what}: ${reason(cause)}`, {
      remedy: "Check free space and permissions of the staging folder.",
      cause,
    });
  }
}

async function flushFolder(folder: string): Promise<void> {
  const handle = await open(folder, "r");
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

function hasCode(error: unknown, code: string): boolean {
  return error instanceof Error && "code" in error && error.code === code;
}

function isAbsent(error: unknown): boolean {
  return hasCode(error, "ENOENT") || hasCode(error, "ENOTDIR");
}

function reason(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
