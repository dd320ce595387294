import type { RuntimeConfigInput } from "../../runtime/config";
import { FilesApi } from "../../runtime/databricks/files-api";
import { resolveWorkspace } from "../../runtime/databricks/workspace";
import { WorkspaceClient } from "../../runtime/databricks/workspace-client";
import type { JobReport } from "../../runtime/job-process";
import { reportPath } from "./databricks-job-source";
import type { ProcessSpec } from "./deployment";

/** Whose report it is: what it is staged by can read it. */
export type Reporting = Pick<ProcessSpec, "config" | "directory">;

/** What a job's process tells of itself; null while it has told nothing that can be read. */
export async function readReport({ config, directory }: Reporting): Promise<JobReport | null> {
  const text = await withFiles(config, (files) => files.read(reportPath(config, directory)));
  try {
    return text === null ? null : (JSON.parse(text.toString("utf8")) as JobReport);
  } catch {
    return null;
  }
}

/** The folder goes with the last one in it. */
export async function removeReport({ config, directory }: Reporting): Promise<void> {
  await withFiles(config, async (files) => {
    const path = reportPath(config, directory);
    const folder = path.slice(0, path.lastIndexOf("/"));
    await files.delete(path);
    if ((await files.list(folder))?.length === 0) await files.deleteTree(folder);
  });
}

async function withFiles<T>({ staging }: RuntimeConfigInput, work: (files: FilesApi) => Promise<T>): Promise<T | null> {
  if (staging?.kind !== "volume") return null;
  const client = new WorkspaceClient(resolveWorkspace(staging.workspace));
  try {
    return await work(new FilesApi(client));
  } finally {
    client.close();
  }
}
