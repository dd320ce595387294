import { randomUUID } from "node:crypto";
import { createReadStream, createWriteStream, existsSync, statSync } from "node:fs";
import { link, mkdir, readdir, rename, rm, rmdir, stat } from "node:fs/promises";
import type { IncomingMessage, ServerResponse } from "node:http";
import { dirname, join } from "node:path";
import { pipeline } from "node:stream/promises";
import { ApiFailure, type Reply } from "./databricks-reply";

/**
 * The Files API of Databricks (/api/2.0/fs), as its published client sources and pages tell (databricks-sdk-py
 * service/files.py, databricks/cli libs/filer/files_client.go, docs.databricks.com/api/files/v2):
 * an upload without `overwrite` overwrites; with `overwrite=false` an existing file is 409 ALREADY_EXISTS; directories above
 * a file are made by themselves; a directory that isn't empty isn't deleted: 400 with the reason
 * FILES_API_DIRECTORY_IS_NOT_EMPTY; lists come in pages of at most 1,000, a page may be short or empty and not the last, no
 * order is promised, `file_size` lacks for directories. Files lie below `root` under their own paths.
 */
export class DatabricksFiles {
  /** bytes of uploads that were taken */
  uploadedBytes = 0;
  private readonly temporary: string;

  constructor(
    readonly root: string,
    private readonly options: {
      /** of a page; the API's own: 1,000 */
      pageEntriesMax?: () => number;
      /** stricter than the real one: directories have to be made first */
      requiresDirectories?: boolean;
    } = {},
  ) {
    this.temporary = join(root, ".uploads");
  }

  async makeVolume(volume: string): Promise<void> {
    await mkdir(this.local(`/Volumes/${volume.replaceAll(".", "/")}`), { recursive: true });
    await mkdir(this.temporary, { recursive: true });
  }

  /** Where a path of the API lies on this machine. */
  local(path: string): string {
    return join(this.root, path);
  }

  hasVolume(volume: string): boolean {
    return existsSync(this.local(`/Volumes/${volume.replaceAll(".", "/")}`));
  }

  /** Takes an upload's content, whole; null when its sender went before the end. */
  async receive(request: IncomingMessage): Promise<string | null> {
    const path = join(this.temporary, randomUUID());
    try {
      await pipeline(request, createWriteStream(path));
      const { size } = await stat(path);
      if (size !== Number(request.headers["content-length"] ?? size)) throw new Error("short");
      return path;
    } catch {
      await rm(path, { force: true });
      return null;
    }
  }

  /** @param content what `receive` gave, which is consumed */
  async upload(path: string, query: URLSearchParams, content: string): Promise<Reply> {
    const to = this.local(path);
    const overwrite = query.get("overwrite") ?? "true";
    if (overwrite !== "true" && overwrite !== "false")
      throw new ApiFailure(400, "INVALID_PARAMETER_VALUE", "overwrite");
    if (isFolder(to)) throw new ApiFailure(409, "ALREADY_EXISTS", `${path} is a directory`);
    if (!existsSync(dirname(to))) {
      if (this.options.requiresDirectories === true) {
        throw new ApiFailure(404, "NOT_FOUND", `no directory ${dirname(path)}`, "FILES_API_DIRECTORY_IS_NOT_FOUND");
      }
      await mkdir(dirname(to), { recursive: true });
    }
    const { size } = await stat(content);
    if (overwrite === "true") await rename(content, to);
    else {
      try {
        await link(content, to);
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
        throw new ApiFailure(
          409,
          "ALREADY_EXISTS",
          "The file being created already exists.",
          "FILES_API_FILE_ALREADY_EXISTS",
        );
      } finally {
        await rm(content, { force: true });
      }
    }
    this.uploadedBytes += size;
    return { status: 204 };
  }

  /** GET and HEAD of a file. */
  async download(path: string, response: ServerResponse, cutAfter: number | null): Promise<void> {
    const from = this.local(path);
    const found = statSync(from, { throwIfNoEntry: false });
    if (found === undefined || !found.isFile()) throw notFound(path);
    response.writeHead(200, {
      "content-length": String(found.size),
      "content-type": "application/octet-stream",
      "last-modified": found.mtime.toUTCString(),
    });
    if (response.req.method === "HEAD") {
      response.end();
      return;
    }
    if (cutAfter !== null && cutAfter < found.size) {
      const part = createReadStream(from, { end: Math.max(0, cutAfter - 1) });
      await pipeline(part, response, { end: false }).catch(() => {});
      response.socket?.destroy();
      return;
    }
    await pipeline(createReadStream(from), response).catch(() => {});
  }

  async deleteFile(path: string): Promise<Reply> {
    const at = this.local(path);
    if (!existsSync(at) || isFolder(at)) throw notFound(path);
    await rm(at);
    return { status: 204 };
  }

  async makeDirectory(path: string): Promise<Reply> {
    const at = this.local(path);
    if (existsSync(at) && !isFolder(at)) throw new ApiFailure(409, "ALREADY_EXISTS", `${path} is a file`);
    await mkdir(at, { recursive: true });
    return { status: 204 };
  }

  async deleteDirectory(path: string): Promise<Reply> {
    const at = this.local(path);
    if (!isFolder(at)) throw notFound(path);
    try {
      await rmdir(at);
    } catch {
      throw new ApiFailure(400, "BAD_REQUEST", "The directory is not empty.", "FILES_API_DIRECTORY_IS_NOT_EMPTY");
    }
    return { status: 204 };
  }

  headDirectory(path: string): Reply {
    if (!isFolder(this.local(path))) throw notFound(path);
    return { status: 200 };
  }

  async list(path: string, query: URLSearchParams): Promise<Reply> {
    const at = this.local(path);
    if (!isFolder(at)) throw notFound(path);
    const size = Math.min(Number(query.get("page_size") ?? 1_000), 1_000, this.options.pageEntriesMax?.() ?? 1_000);
    // In an order that nobody expects, but always the same.
    const names = (await readdir(at)).sort((a, b) => (reversed(a) < reversed(b) ? -1 : 1));
    const after = query.has("page_token")
      ? Buffer.from(query.get("page_token") as string, "base64url")
          .toString()
          .slice(1)
      : "";
    const left = names.filter((name) => reversed(name) > after);
    const page = left.slice(0, size);
    const last = page.at(-1);
    const contents = page.flatMap((name) => {
      const found = statSync(join(at, name), { throwIfNoEntry: false });
      if (found === undefined) return [];
      const isDirectory = found.isDirectory();
      return {
        path: `${path.replace(/\/+$/, "")}/${name}`,
        name,
        is_directory: isDirectory,
        ...(isDirectory ? {} : { file_size: found.size, last_modified: Math.floor(found.mtimeMs) }),
      };
    });
    const next = size === 0 ? after : last === undefined ? null : reversed(last);
    const isLast = left.length <= page.length || next === null;
    const body = isLast ? { contents } : { contents, next_page_token: Buffer.from(`>${next}`).toString("base64url") };
    return { status: 200, body };
  }
}

const reversed = (name: string) => [...name].reverse().join("");
const isFolder = (path: string) => statSync(path, { throwIfNoEntry: false })?.isDirectory() === true;
const notFound = (path: string) => new ApiFailure(404, "NOT_FOUND", `no file or directory ${path}`);
