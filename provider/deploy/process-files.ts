import { createHash } from "node:crypto";
import { existsSync, readdirSync, readFileSync, rmSync, statSync } from "node:fs";
import { join } from "node:path";
import type { z } from "zod";
import { SluiceError } from "../../runtime/errors";
import type { StatusDocument } from "../../runtime/status";

/** The files of one supervised process, in its own folder. */
export const processFiles = {
  configuration: "config.json",
  /** the status document */
  status: "status.json",
  /** the supervisor's pid and start time, written by whoever started it */
  started: "process.json",
  /** the same and the child's, written by the supervisor */
  supervisor: "supervisor.json",
  /** the supervisor's own output; the child's is in `<role>.log` */
  supervisorLog: "supervisor.log",
} as const;

export function readText(path: string): string | null {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return null;
  }
}

/** `null` when the file is absent, half-written or of another shape. */
export function readJson<T>(path: string, schema: z.ZodType<T>): T | null {
  try {
    return schema.parse(JSON.parse(readFileSync(path, "utf8")));
  } catch {
    return null;
  }
}

export function readStatus(directory: string): StatusDocument | null {
  const text = readText(join(directory, processFiles.status));
  if (text === null) return null;
  try {
    return JSON.parse(text) as StatusDocument;
  } catch {
    return null;
  }
}

/** The last lines of the child's log, else of the supervisor's. */
export function lastLogLines(directory: string, role: string, linesMax: number): string[] {
  for (const name of [`${role}.log`, processFiles.supervisorLog]) {
    const path = join(directory, name);
    if ((statSync(path, { throwIfNoEntry: false })?.size ?? 0) === 0) continue;
    const lines = (readText(path) ?? "").trimEnd().split("\n");
    return lines.slice(-linesMax).map((line) => line.slice(0, 500));
  }
  return [];
}

/** Why the child ended, as it said in its last words: `{"event": "stopped", "error"}`; null when it said nothing. */
export function lastStop(directory: string, role: string): string | null {
  for (const line of lastLogLines(directory, role, 10).reverse()) {
    try {
      const { event, error } = JSON.parse(line) as { event?: unknown; error?: unknown };
      if (event === "stopped" && typeof error === "string") return error;
    } catch {
      // not one of its own lines
    }
  }
  return null;
}

/** With all that is in it. */
export function removeFolder(path: string): void {
  rmSync(path, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 });
}

/** A process's folder, verified to be gone. @throws SluiceError `process` */
export function removeProcessFolder(directory: string): void {
  removeFolder(directory);
  if (!existsSync(directory)) return;
  throw new SluiceError("process", `the folder ${directory} could not be removed`, {
    remedy: `Remove ${directory}.`,
  });
}

/** Of a secret file, by which it is compared. */
export function digestOf(content: string): string {
  return createHash("sha256").update(content).digest("hex");
}

export function readSecretDigests(directory: string): Record<string, string> {
  const digests: Record<string, string> = {};
  for (const name of readdirSync(directory).filter((one) => one.endsWith(".secret"))) {
    const path = join(directory, name);
    const content = readText(path);
    if (content === null) continue;
    digests[name] = (statSync(path).mode & 0o077) === 0 ? digestOf(content) : "";
  }
  return digests;
}
