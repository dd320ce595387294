import type { StagingConfig } from "../config";
import { FilesApi } from "../databricks/files-api";
import { resolveWorkspace } from "../databricks/workspace";
import { WorkspaceClient } from "../databricks/workspace-client";
import { openFolderStore } from "./folder-store";
import type { ObjectStore } from "./object-store";
import { VolumeStore } from "./volume-store";

/** Where a process finds the staging log: parts of its configuration. */
export interface StagingPlace {
  stagingPath: string;
  staging: StagingConfig;
}

export interface StagingOptions {
  /** how long a request is tried again below the object store; who tries calls of the store again takes a short time */
  requestRetryMsMax?: number;
  /** nothing is waited for once it is aborted */
  signal?: AbortSignal;
}

/**
 * @throws SluiceError `staging` when the folder can't be made or written, `config` when a workspace's settings lack something
 */
export async function openStaging(
  { stagingPath, staging }: StagingPlace,
  { requestRetryMsMax, signal }: StagingOptions = {},
): Promise<ObjectStore> {
  switch (staging.kind) {
    case "folder":
      return openFolderStore(stagingPath);
    case "volume": {
      const client = new WorkspaceClient(resolveWorkspace(staging.workspace), {
        retryMsMax: requestRetryMsMax,
        signal,
      });
      const { localPath, cacheBytesMax, uploadsMax } = staging;
      return new VolumeStore(new FilesApi(client), { path: stagingPath, localPath, cacheBytesMax, uploadsMax });
    }
  }
}
