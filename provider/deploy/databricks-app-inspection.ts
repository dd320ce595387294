import { askApp } from "./databricks-app-health";
import type { App, AppsApi } from "./databricks-apps-api";
import { parseRecord, recordFile } from "./databricks-configuration";
import { processFolder, processName, readDescription } from "./databricks-names";
import type { DatabricksOptions } from "./databricks-options";
import type { Inspection } from "./deployment";

/** What an app's process tells; null while it has no compute, or doesn't answer. */
export const answerOf = async (api: AppsApi, app: App) =>
  app.url === undefined || app.compute_status?.state !== "ACTIVE" ? null : askApp(app.url, api.client.workspace);

/** What is there of a process; changes nothing. */
export async function inspectApp(api: AppsApi, options: DatabricksOptions, directory: string): Promise<Inspection> {
  const name = processName(directory);
  const app = await api.app(name);
  if (app === null) return { kind: "absent" };
  if (readDescription(app.description)?.directory !== directory) return { kind: "foreign", what: `the app ${name}` };
  const path = app.active_deployment?.source_code_path;
  const record = path === undefined ? null : parseRecord(await api.readFile(`${path}/${recordFile}`));
  const isElsewhere = path !== undefined && !path.startsWith(`${processFolder(options, directory)}/`);
  const settings = {
    configuration: record?.configuration ?? "",
    version: record?.version,
    ...(isElsewhere ? { changed: [`the app ${name} was deployed from ${path}`] } : {}),
  };
  const { state: compute = "STOPPED", message } = app.compute_status ?? {};
  if (compute === "ERROR") return { kind: "failed", message: message ?? "its app has no compute", ...settings };
  if (path === undefined || compute !== "ACTIVE") return { kind: "dead", ...settings };
  if (app.app_status?.state === "CRASHED") {
    const crashed = app.app_status.message ?? "its app has crashed";
    return { kind: "failed", message: crashed, remedy: `See databricks apps logs ${name}.`, ...settings };
  }
  const answer = await answerOf(api, app);
  const said = answer?.status.state;
  if (answer === null) return { kind: "failed", message: "its app doesn't answer", ...settings };
  if (said?.kind === "failed") return { kind: "failed", message: said.message, remedy: said.remedy, ...settings };
  return { kind: "running", ...settings };
}
