import { accessSync, constants, statSync } from "node:fs";
import { createServer } from "node:net";
import { dirname, isAbsolute } from "node:path";
import { z } from "zod";

/** A folder on the machine where the processes run; relative ones would mean another folder for each program. */
export const absolutePathSchema = z
  .string()
  .min(1)
  .refine((path) => isAbsolute(path), {
    error: 'a path must be absolute\n  remedy: Give it as path.resolve("…").',
  })
  .refine((path) => !path.includes("\0"), { error: "a path has no zero byte" });

/** Why nothing can be written in a folder that may not exist yet; null when its nearest existing ancestor lets us. */
export function folderProblem(path: string): string | null {
  for (let folder = path; ; folder = dirname(folder)) {
    try {
      if (!statSync(folder).isDirectory()) return `${folder} is a file, not a folder`;
      accessSync(folder, constants.W_OK | constants.X_OK);
      return null;
    } catch (error) {
      const code = (error as NodeJS.ErrnoException).code;
      const absent = code === "ENOENT" || code === "ENOTDIR";
      if (absent && dirname(folder) !== folder) continue;
      return `${folder} is not writable for this user (${code})`;
    }
  }
}

/** True when a process listens on this port of 127.0.0.1. */
export function isPortTaken(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const probe = createServer();
    probe.once("error", (error: NodeJS.ErrnoException) => resolve(error.code === "EADDRINUSE"));
    probe.listen(port, "127.0.0.1", () => probe.close(() => resolve(false)));
  });
}
