import { startPipelineUpdate, type UpdateSelection } from "../databricks/pipeline-api";
import { resolveWorkspace } from "../databricks/workspace";
import { WorkspaceClient } from "../databricks/workspace-client";
import { type WorkspaceOption, workspaceSettings } from "./workspace-option";

/** Runs `use` with a client of the workspace that a command names, and closes it. */
export async function withWorkspace<T>(
  command: string,
  option: WorkspaceOption,
  use: (client: WorkspaceClient) => Promise<T>,
): Promise<T> {
  const client = new WorkspaceClient(resolveWorkspace(workspaceSettings(command, option)));
  try {
    return await use(client);
  } finally {
    client.close();
  }
}

/** `sluice refresh`: starts an update of a declarative pipeline, of all its tables or of those that are named. */
export async function startRefresh(
  option: WorkspaceOption,
  pipelineId: string,
  selection: UpdateSelection,
  asJson: boolean,
): Promise<void> {
  const updateId = await withWorkspace("sluice refresh", option, (client) =>
    startPipelineUpdate(client, pipelineId, selection),
  );
  const what = selection.tables.length === 0 ? "all tables" : selection.tables.join(", ");
  if (asJson) process.stdout.write(`${JSON.stringify({ pipelineId, updateId, ...selection })}\n`);
  else {
    process.stdout.write(
      `update ${updateId} of pipeline ${pipelineId} has begun: ${what}${selection.full ? ", in full" : ""}\n`,
    );
  }
}
