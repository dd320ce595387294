import { createWriteStream } from "node:fs";
import { open, rm, stat } from "node:fs/promises";
import { pipeline } from "node:stream/promises";
import { z } from "zod";
import { parseVolumePath } from "../databricks-config";
import { SluiceError } from "../errors";
import { type ApiError, apiErrorOf } from "./api-error";
import { type HttpBody, type HttpResponse, readBody } from "./http";
import { quoteName, volumeGrantRemedy } from "./privileges";
import type { ApiRequest, WorkspaceClient } from "./workspace-client";

/** The Files API takes no more in one request. */
export const fileBytesMax = 5 * 1024 ** 3;
const deletesAtOnce = 8;
/** Of a file that is read into memory. */
const contentBytesMax = 256 * 1024 * 1024;

const pageSchema = z.object({
  contents: z
    .array(
      z.object({
        name: z.string(),
        is_directory: z.boolean().optional(),
        file_size: z.coerce.number().optional(),
      }),
    )
    .optional(),
  next_page_token: z.string().optional(),
});

export interface DirectoryEntry {
  /** the last part of its path */
  name: string;
  isDirectory: boolean;
  bytes: number;
}

/**
 * Files and directories of Unity Catalog volumes by the Files API, version 2.0. Paths are absolute: `/Volumes/…`.
 * A failure says what can't be done with which path, and the GRANT where a privilege lacks.
 */
export class FilesApi {
  constructor(private readonly client: WorkspaceClient) {}

  /** `null` when there is no such file. */
  async read(path: string): Promise<Buffer | null> {
    const take = (response: HttpResponse) => readBody(response, contentBytesMax);
    return this.unlessAbsent(() => this.client.run(this.download(path), take));
  }

  /** Into a local file, which is whole and durable when this resolves, and gone when it fails. */
  async downloadTo(path: string, localPath: string): Promise<{ bytes: number }> {
    try {
      await this.client.run(this.download(path), async ({ stream }) => {
        await pipeline(stream, createWriteStream(localPath));
      });
      return { bytes: await flush(localPath) };
    } catch (error) {
      await rm(localPath, { force: true });
      throw error;
    }
  }

  /** Makes or replaces a file, whole or not at all. */
  async write(path: string, content: Buffer | string): Promise<void> {
    await this.client.done(this.upload(path, bytesOf(content), true));
  }

  /** `false` when the file exists; it may be this very call's, of an attempt whose answer was lost. */
  async writeIfAbsent(path: string, content: Buffer | string): Promise<boolean> {
    try {
      await this.client.done(this.upload(path, bytesOf(content), false));
      return true;
    } catch (error) {
      const refused = apiErrorOf(error);
      if (refused?.statusCode !== 409 || !isExisting(refused)) throw error;
      return false;
    }
  }

  /** Sends a local file as it is on the disk. */
  async uploadFrom(path: string, localPath: string): Promise<{ bytes: number }> {
    const { size } = await stat(localPath);
    if (size > fileBytesMax) {
      throw new SluiceError(
        "unsupported",
        `Databricks: ${path} has ${size} bytes, and the Files API takes ${fileBytesMax}`,
        {
          remedy: "Make files smaller: batch.bytesMax of the gateway.",
        },
      );
    }
    await this.client.done(this.upload(path, { kind: "file", path: localPath }, true));
    return { bytes: size };
  }

  /** Succeeds when it is absent. */
  async delete(path: string): Promise<void> {
    await this.unlessAbsent(() => this.client.done(this.request("DELETE", "files", path, "delete")));
  }

  /** With those above it; succeeds when it is there. */
  async makeDirectory(path: string): Promise<void> {
    await this.client.done(this.request("PUT", "directories", path, "make the directory"));
  }

  async hasDirectory(path: string): Promise<boolean> {
    const answer = await this.unlessAbsent(async () => {
      await this.client.done(this.request("HEAD", "directories", path, "look at the directory"));
      return true;
    });
    return answer ?? false;
  }

  /** All that is in a directory, not below; no order is promised. `null` when there is no such directory. */
  async list(path: string): Promise<DirectoryEntry[] | null> {
    return this.unlessAbsent(async () => {
      const entries: DirectoryEntry[] = [];
      for await (const page of this.pages(path)) entries.push(...page);
      return entries;
    });
  }

  /**
   * Removes a directory with all that is in it; succeeds when it is absent. `last`: the file of it that goes after all else.
   * `onDeleted`: so many files are gone.
   */
  async deleteTree(path: string, options: { last?: string; onDeleted?: (count: number) => void } = {}): Promise<void> {
    let count = 0;
    const remove = async (file: string) => {
      await this.delete(file);
      options.onDeleted?.(++count);
    };
    await this.deleteBelow(path, remove, options.last);
  }

  private async deleteBelow(path: string, remove: (file: string) => Promise<void>, last?: string): Promise<void> {
    const entries = (await this.list(path)) ?? [];
    for (const { name, isDirectory } of entries) if (isDirectory) await this.deleteBelow(`${path}/${name}`, remove);
    const files = entries.filter(({ name, isDirectory }) => !isDirectory && name !== last).map(({ name }) => name);
    const work = async () => {
      for (let name = files.pop(); name !== undefined; name = files.pop()) await remove(`${path}/${name}`);
    };
    await Promise.all(Array.from({ length: deletesAtOnce }, work));
    if (last !== undefined) await remove(`${path}/${last}`);
    await this.unlessAbsent(() =>
      this.client.done(this.request("DELETE", "directories", path, "delete the directory")),
    );
  }

  private async *pages(path: string): AsyncGenerator<DirectoryEntry[]> {
    let token: string | undefined;
    do {
      const query: Record<string, string> = token === undefined ? {} : { page_token: token };
      const request = { ...this.request("GET", "directories", path, "list"), query };
      const page = await this.client.json(request, (value) => pageSchema.parse(value));
      yield (page.contents ?? []).map(({ name, is_directory, file_size }) => ({
        name,
        isDirectory: is_directory === true,
        bytes: file_size ?? 0,
      }));
      // A page may be empty and not the last.
      token = page.next_page_token || undefined;
    } while (token !== undefined);
  }

  private download(path: string): ApiRequest {
    return { ...this.request("GET", "files", path, "read"), accept: "application/octet-stream" };
  }

  private upload(path: string, body: HttpBody, overwrite: boolean): ApiRequest {
    // Said in both cases: what isn't said overwrites.
    return { ...this.request("PUT", "files", path, "write"), body, query: { overwrite: String(overwrite) } };
  }

  private request(method: ApiRequest["method"], kind: "files" | "directories", path: string, what: string): ApiRequest {
    return {
      method,
      path: `/api/2.0/fs/${kind}${path.split("/").map(encodeURIComponent).join("/")}`,
      what: `${what} ${path}`,
      remedy: (error) => this.remedy(path, error),
    };
  }

  private remedy(path: string, error: ApiError): string | null {
    if (error.statusCode === 403) return volumeGrantRemedy(path, this.client.principal);
    if (error.statusCode !== 404) return null;
    const parsed = parseVolumePath(path);
    if (parsed === null) return null;
    return `See that the volume exists and may be seen: DESCRIBE VOLUME ${quoteName(parsed.volume)}; it is made by: CREATE VOLUME ${quoteName(parsed.volume)};`;
  }

  private async unlessAbsent<T>(work: () => Promise<T>): Promise<T | null> {
    try {
      return await work();
    } catch (error) {
      if (apiErrorOf(error)?.statusCode === 404) return null;
      throw error;
    }
  }
}

const isExisting = (error: ApiError) =>
  error.body.errorCode === "ALREADY_EXISTS" || error.body.errorCode === "RESOURCE_ALREADY_EXISTS";

/** The file's size, once all of it is on the disk. */
async function flush(path: string): Promise<number> {
  const file = await open(path, "r+");
  try {
    await file.sync();
    return (await file.stat()).size;
  } finally {
    await file.close();
  }
}

const bytesOf = (content: Buffer | string): HttpBody => ({
  kind: "bytes",
  bytes: Buffer.from(content),
  type: "application/octet-stream",
});
