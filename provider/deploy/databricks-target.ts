import { resolveWorkspace, type Workspace } from "../../runtime/databricks/workspace";
import { WorkspaceClient } from "../../runtime/databricks/workspace-client";
import { SluiceError } from "../../runtime/errors";
import { type Host, processProblem } from "./databricks-configuration";
import type { DatabricksOptions } from "./databricks-options";
import type { ProcessSpec, StagingPlace } from "./deployment";

/** Connections end with the operation: a provider may live long. @param allow throws for a workspace that can't be used */
export async function withWorkspace<T>(
  { workspace }: Pick<DatabricksOptions, "workspace">,
  work: (client: WorkspaceClient) => Promise<T>,
  allow: (workspace: Workspace) => void = () => {},
): Promise<T> {
  const resolved = resolveWorkspace(workspace);
  allow(resolved);
  const client = new WorkspaceClient(resolved);
  try {
    return await work(client);
  } finally {
    client.close();
  }
}

/** What stands against a process, of its own or of the workspace. @param spec null while inputs aren't known */
export async function problemOf(
  spec: ProcessSpec | null,
  host: Host,
  check: () => Promise<void>,
): Promise<SluiceError | null> {
  const problem = spec === null ? null : processProblem(spec, host);
  if (problem !== null) return problem;
  try {
    await check();
    return null;
  } catch (error) {
    if (error instanceof SluiceError) return error;
    throw error;
  }
}

/** What only a volume can be. @param a `an app` */
export const noFolders = (a: string): StagingPlace => ({
  inspect: async () => ({ kind: "free" }),
  make: async (path) => {
    throw new SluiceError("config", `${a} keeps no files: its staging can't be ${path}`, {
      remedy: 'Stage in a Unity Catalog volume, the Gateway\'s staging: { kind: "volume", … }.',
    });
  },
  remove: async () => true,
});
