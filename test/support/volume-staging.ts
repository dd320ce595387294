import { FilesApi } from "../../runtime/databricks/files-api";
import { type ClientOptions, WorkspaceClient } from "../../runtime/databricks/workspace-client";
import { VolumeStore, type VolumeStoreOptions } from "../../runtime/staging/volume-store";
import type { DatabricksWorkspace } from "./databricks-workspace";

/** A client of a stand-in, in whose name `token` is. */
export function workspaceClient(
  { host }: Pick<DatabricksWorkspace, "host">,
  token: string,
  options: ClientOptions = {},
): WorkspaceClient {
  return new WorkspaceClient(
    { host, identity: { kind: "token", readToken: () => token }, origin: "the test" },
    { retryMsMax: 30_000, ...options },
  );
}

/** Staging in the volume `main.sluice.staging` of a stand-in. */
export function volumeStore(
  workspace: Pick<DatabricksWorkspace, "host">,
  {
    token,
    folder,
    localPath,
    client = {},
    ...options
  }: { token: string; folder: string; client?: ClientOptions } & Omit<VolumeStoreOptions, "path">,
): VolumeStore {
  const path = `/Volumes/main/sluice/staging/${folder}`;
  return new VolumeStore(new FilesApi(workspaceClient(workspace, token, client)), { path, localPath, ...options });
}
