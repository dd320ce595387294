// The stand-in of a workspace, for the vendor's own client: prints what that needs as one line of JSON, and ends with its input.
import { DatabricksWorkspace } from "../support/databricks-workspace";

async function main(): Promise<void> {
  const volume = "main.sluice.staging";
  const workspace = await DatabricksWorkspace.open({ pageEntriesMax: () => 3 });
  const token = await workspace.addVolume(volume);
  const stranger = workspace.addToken("nobody@example.com");
  process.stdout.write(`${JSON.stringify({ host: workspace.host, token, stranger })}\n`);
  for await (const _ of process.stdin);
  await workspace.close();
}

void main();
