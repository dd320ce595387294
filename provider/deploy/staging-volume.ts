import { FilesApi } from "../../runtime/databricks/files-api";
import { resolveWorkspace } from "../../runtime/databricks/workspace";
import { WorkspaceClient } from "../../runtime/databricks/workspace-client";
import type { WorkspaceSettings } from "../../runtime/databricks-config";
import { describeError, SluiceError } from "../../runtime/errors";
import type { StagingFound, StagingOwner, StagingPlace } from "./deployment";
import { isSameOwner, logIdIn, ownerFile, stagingOwnerSchema, stagingTaken } from "./staging-folder";

/** How often a long removal says how far it is. */
const tellMs = 10_000;

/** Folders of volumes, by the Files API of a workspace; the volume itself stays. */
export function stagingVolume(workspace: WorkspaceSettings): StagingPlace {
  return {
    inspect: (path) => withFiles(workspace, (files) => inspect(files, path, workspace)),

    make: (path, owner) =>
      withFiles(workspace, async (files) => {
        const found = await inspect(files, path, workspace);
        if (found.kind === "foreign" || (found.kind === "owned" && found.owner.deploymentId !== owner.deploymentId)) {
          throw stagingTaken(path);
        }
        await files.deleteTree(path);
        await files.makeDirectory(path);
        await files.write(`${path}/${ownerFile}`, `${JSON.stringify(owner)}\n`);
      }),

    remove: (path, owner) => withFiles(workspace, (files) => remove(files, path, owner, workspace)),
  };
}

async function withFiles<T>(settings: WorkspaceSettings, work: (files: FilesApi) => Promise<T>): Promise<T> {
  const client = new WorkspaceClient(resolveWorkspace(settings));
  try {
    return await work(new FilesApi(client));
  } finally {
    client.close();
  }
}

async function inspect(files: FilesApi, path: string, workspace: WorkspaceSettings): Promise<StagingFound> {
  const entries = await files.list(path);
  if (entries === null || entries.length === 0) return { kind: "free" };
  const hasLog = entries.some(({ name }) => name === "log.json");
  const log = hasLog
    ? {
        readId: () =>
          withFiles(workspace, async (own) => logIdIn((await own.read(`${path}/log.json`))?.toString("utf8") ?? "")),
        adopt: (owner: StagingOwner) => withFiles(workspace, (own) => adopt(own, path, owner, workspace)),
      }
    : undefined;
  const owner = await readOwner(files, path);
  return owner === null ? { kind: "foreign", log } : { kind: "owned", owner, log };
}

/** A file is replaced whole: there is always one owner, or none. */
async function adopt(
  files: FilesApi,
  path: string,
  owner: StagingOwner,
  workspace: WorkspaceSettings,
): Promise<() => Promise<void>> {
  const file = `${path}/${ownerFile}`;
  const before = await files.read(file);
  await files.write(file, `${JSON.stringify({ ...owner, adopted: true } satisfies StagingOwner)}\n`);
  return () => withFiles(workspace, (own) => (before === null ? own.delete(file) : own.write(file, before)));
}

async function readOwner(files: FilesApi, path: string): Promise<StagingOwner | null> {
  const content = await files.read(`${path}/${ownerFile}`);
  if (content === null) return null;
  try {
    return stagingOwnerSchema.parse(JSON.parse(content.toString("utf8")));
  } catch {
    return null;
  }
}

async function remove(
  files: FilesApi,
  path: string,
  owner: StagingOwner,
  workspace: WorkspaceSettings,
): Promise<boolean> {
  const found = await inspect(files, path, workspace);
  if (found.kind === "foreign") return false;
  if (found.kind === "owned" && !isSameOwner(found.owner, owner)) return false;
  let toldMs = Date.now();
  // The owner's file goes last: a removal that is cut off is known as ours by the next.
  await files.deleteTree(path, {
    last: ownerFile,
    onDeleted: (count) => {
      if (Date.now() - toldMs < tellMs) return;
      toldMs = Date.now();
      console.log(`${path}: ${count.toLocaleString("en-US")} files are removed`);
    },
  });
  const left = await files.list(path).catch((error: unknown) => {
    throw new SluiceError("staging", `whether ${path} is removed can't be told: ${describeError(error)}`, {
      remedy: `Look whether ${path} is gone, and run the same again.`,
      cause: error,
    });
  });
  if (left === null) return true;
  throw new SluiceError("staging", `the staging folder ${path} could not be removed`, {
    remedy: `Something writes to it: end that, then remove it: databricks fs rm -r dbfs:${path}`,
  });
}
