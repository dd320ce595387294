import type { App, AppsApi } from "./databricks-apps-api";
import { nameTaken, processName, readDescription } from "./databricks-names";
import type { DatabricksOptions } from "./databricks-options";
import { checkSecrets } from "./databricks-secrets";
import type { ProcessSpec } from "./deployment";

/** What would fail in the workspace. @param spec null while inputs aren't known @throws SluiceError */
export async function checkWorkspace(
  api: AppsApi,
  options: DatabricksOptions,
  spec: ProcessSpec | null,
): Promise<void> {
  if (spec === null) {
    await api.apps();
    return;
  }
  const app = await api.app(processName(spec.directory));
  if (app !== null) requireOurs(app, spec.directory);
  await checkSecrets(api, options, spec, "app");
}

/** @throws SluiceError `name-taken` */
export function requireOurs(app: App, directory: string): void {
  if (readDescription(app.description)?.directory === directory) return;
  throw nameTaken("app", app.name, app.name);
}
