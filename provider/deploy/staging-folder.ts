import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmdirSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { z } from "zod";
import { SluiceError } from "../../runtime/errors";
import type { StagingFound, StagingLogFound, StagingOwner, StagingPlace } from "./deployment";

/** Beside the staging log: whose it is. A folder without our own is never removed. */
export const ownerFile = "owner.json";

export const stagingOwnerSchema = z.object({
  deploymentId: z.string(),
  incarnation: z.string(),
  adopted: z.literal(true).optional(),
});

/** Folders of this machine. */
export const stagingFolders: StagingPlace = {
  inspect: async (path) => inspectFolder(path),

  async make(path, owner) {
    const found = inspectFolder(path);
    if (found.kind === "foreign" || (found.kind === "owned" && found.owner.deploymentId !== owner.deploymentId)) {
      throw stagingTaken(path);
    }
    try {
      rmSync(path, { recursive: true, force: true });
      mkdirSync(path, { recursive: true, mode: 0o700 });
      writeFileSync(join(path, ownerFile), `${JSON.stringify(owner)}\n`);
    } catch (cause) {
      throw new SluiceError("staging", `the staging folder ${path} can't be made: ${(cause as Error).message}`, {
        remedy: "Choose a stagingPath or stateDir where this user may write.",
        cause,
      });
    }
  },

  async remove(path, owner) {
    const found = inspectFolder(path);
    if (found.kind === "foreign") return false;
    if (found.kind === "owned" && !isSameOwner(found.owner, owner)) return false;
    rmSync(path, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 });
    if (existsSync(path)) {
      throw new SluiceError("staging", `the staging folder ${path} could not be removed`, {
        remedy: `Remove ${path}.`,
      });
    }
    return true;
  },
};

function inspectFolder(path: string): StagingFound {
  try {
    if (readdirSync(path).length === 0) return { kind: "free" };
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "ENOENT" ? { kind: "free" } : { kind: "foreign" };
  }
  const log: StagingLogFound | undefined = existsSync(join(path, "log.json"))
    ? {
        readId: async () => logIdIn(readFileSync(join(path, "log.json"), "utf8")),
        adopt: async (owner) => adoptFolder(path, owner),
      }
    : undefined;
  try {
    const owner = stagingOwnerSchema.parse(JSON.parse(readFileSync(join(path, ownerFile), "utf8")));
    return { kind: "owned", owner, log };
  } catch {
    return { kind: "foreign", log };
  }
}

/** Pure: the identity that a staging log's own file says; null where it says none. */
export function logIdIn(document: string): string | null {
  try {
    const { logId } = JSON.parse(document) as { logId?: unknown };
    return typeof logId === "string" && logId !== "" ? logId : null;
  } catch {
    return null;
  }
}

function adoptFolder(path: string, owner: StagingOwner): () => Promise<void> {
  const file = join(path, ownerFile);
  const put = (content: string | null) => {
    if (content === null) return rmSync(file, { force: true });
    // As a whole, or not at all: a folder without an owner is nobody's to remove.
    const next = `${file}.next`;
    writeFileSync(next, content);
    renameSync(next, file);
  };
  try {
    const before = existsSync(file) ? readFileSync(file, "utf8") : null;
    put(`${JSON.stringify({ ...owner, adopted: true } satisfies StagingOwner)}\n`);
    return async () => put(before);
  } catch (cause) {
    throw new SluiceError("staging", `the staging folder ${path} can't be taken over: ${(cause as Error).message}`, {
      remedy: "Make the folder and its files this user's.",
      cause,
    });
  }
}

export function stagingTaken(path: string): SluiceError {
  return new SluiceError("staging", `the staging folder ${path} isn't empty and isn't this gateway's`, {
    remedy:
      "Choose another stagingPath or stateDir; or go on with it by adopt: true; or, if nothing needs what is in it, remove the folder.",
  });
}

export function isSameOwner(one: StagingOwner, other: StagingOwner): boolean {
  return one.deploymentId === other.deploymentId && one.incarnation === other.incarnation;
}

/** Removes the folder that held several of ours, when nothing is left in it. */
export function removeIfEmpty(folder: string): void {
  try {
    rmdirSync(folder);
  } catch {
    // Something else is in it, or it is gone already.
  }
}

/** The folder of one deployment, with its processes and its staging. */
export function deploymentFolder(stateDir: string, deploymentId: string): string {
  return join(stateDir, deploymentId);
}
