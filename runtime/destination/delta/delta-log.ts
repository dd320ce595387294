import { randomUUID } from "node:crypto";
import { constants } from "node:fs";
import { copyFile, link, mkdir, open, readdir, readFile, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { SluiceError } from "../../errors";
import { type Action, actionSchema } from "./actions";

/** Files of a local Delta table: everything is durable when its promise resolves. */
export function logFolder(tablePath: string): string {
  return join(tablePath, "_delta_log");
}

export function commitName(version: number): string {
  return `${String(version).padStart(20, "0")}.json`;
}

/** `null` when there is no such version. @throws SluiceError `destination` when it is damaged. */
export async function readDeltaCommit(tablePath: string, version: number): Promise<Action[] | null> {
  const path = join(logFolder(tablePath), commitName(version));
  const content = await readOrNull(path);
  if (content === null) return null;
  try {
    const lines = content
      .toString("utf8")
      .split("\n")
      .filter((line) => line.trim() !== "");
    if (lines.length === 0) throw new Error("it is empty");
    return lines.map((line) => actionSchema.parse(JSON.parse(line)));
  } catch (cause) {
    throw damaged(path, cause);
  }
}

/** Commit versions in the log, in order. */
export async function listCommits(tablePath: string): Promise<number[]> {
  return (await listLog(tablePath))
    .map((name) => /^(\d{20})\.json$/.exec(name))
    .filter((match) => match !== null)
    .map((match) => Number(match[1]))
    .sort((a, b) => a - b);
}

/** Names in the log's folder; [] when there is none. */
export async function listLog(tablePath: string): Promise<string[]> {
  try {
    return await readdir(logFolder(tablePath));
  } catch (error) {
    if (isAbsent(error)) return [];
    throw failed(logFolder(tablePath), "listed", error);
  }
}

/** Puts a commit; false when another writer has put that version. */
export async function putDeltaCommit(tablePath: string, version: number, actions: Action[]): Promise<boolean> {
  const folder = logFolder(tablePath);
  const path = join(folder, commitName(version));
  const temporary = join(folder, `.${commitName(version)}.${randomUUID()}.tmp`);
  const content = actions.map((action) => `${JSON.stringify(action)}\n`).join("");
  try {
    await mkdir(folder, { recursive: true });
    await writeDurably(temporary, content);
    try {
      await link(temporary, path);
    } catch (error) {
      if (hasCode(error, "EEXIST")) return false;
      if (!isLinkRefused(error)) throw error;
      await copyFile(temporary, path, constants.COPYFILE_EXCL);
      await flush(path);
    }
    await flush(folder);
    return true;
  } catch (error) {
    if (hasCode(error, "EEXIST")) return false;
    throw failed(path, "written", error);
  } finally {
    await rm(temporary, { force: true }).catch(() => {});
  }
}

/** Replaces a file as a whole. */
export async function replaceFile(path: string, content: string): Promise<void> {
  const temporary = `${path}.${randomUUID()}.tmp`;
  try {
    await writeDurably(temporary, content);
    await rename(temporary, path);
  } catch (error) {
    await rm(temporary, { force: true }).catch(() => {});
    throw failed(path, "written", error);
  }
}

export async function writeDurably(path: string, content: string | Uint8Array): Promise<void> {
  const file = await open(path, "wx");
  try {
    await file.writeFile(content);
    await file.sync();
  } finally {
    await file.close();
  }
}

/** Flushes a file or a folder. */
export async function flush(path: string): Promise<void> {
  const file = await open(path, "r");
  try {
    await file.sync();
  } finally {
    await file.close();
  }
}

export async function readOrNull(path: string): Promise<Buffer | null> {
  try {
    return await readFile(path);
  } catch (error) {
    if (isAbsent(error)) return null;
    throw failed(path, "read", error);
  }
}

/** What is in the log can't be right; not: it can't be read now. */
export class DamagedLogError extends SluiceError {}

export function damaged(path: string, cause: unknown): DamagedLogError {
  return new DamagedLogError("destination", `Delta log: ${path} is damaged: ${reason(cause)}`, {
    remedy: "Restore the file, or take a new snapshot of the table: sluice resync.",
    cause,
  });
}

export function failed(path: string, what: string, cause: unknown): SluiceError {
  return new SluiceError("destination", `destination: ${path} can't be ${what}: ${reason(cause)}`, {
    remedy: "Check free space and permissions of the destination folder.",
    cause,
  });
}

export function hasCode(error: unknown, code: string): boolean {
  return error instanceof Error && "code" in error && error.code === code;
}

/** Says whether the file system can't link: another device, or no such operation. */
export function isLinkRefused(error: unknown): boolean {
  return ["EXDEV", "EPERM", "ENOTSUP", "EOPNOTSUPP", "ENOSYS", "EMLINK"].some((code) => hasCode(error, code));
}

export function isAbsent(error: unknown): boolean {
  return hasCode(error, "ENOENT") || hasCode(error, "ENOTDIR");
}

function reason(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
