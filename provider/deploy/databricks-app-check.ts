import { SluiceError } from "../../runtime/errors";
import { appName, appSource, keyInScope, readDescription, secretContents } from "./databricks-app-source";
import type { App, AppsApi } from "./databricks-apps-api";
import type { DatabricksOptions } from "./databricks-options";
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
  const app = await api.app(appName(spec.directory));
  if (app !== null) requireOurs(app, spec.directory);
  const { secretScope } = options;
  const { secrets } = appSource(spec);
  if (secretScope === undefined) {
    secretContents(spec, secrets);
    return;
  }
  const keys = await api.secretKeys(secretScope);
  const wanted = Object.values(secrets).map((secret) => keyInScope(secretScope, secret));
  const missing = keys === null ? wanted : wanted.filter((key) => !keys.includes(key));
  if (keys !== null && missing.length === 0) return;
  const what = keys === null ? `there is no secret scope ${secretScope}` : `it has no key ${missing.join(", ")}`;
  throw new SluiceError("missing-object", `the secret scope ${secretScope}: ${what}`, {
    remedy: `Run databricks secrets put-secret ${secretScope} ${missing[0] ?? "KEY"}, or leave secretScope out.`,
  });
}

/** @throws SluiceError `name-taken` */
export function requireOurs(app: App, directory: string): void {
  if (readDescription(app.description)?.directory === directory) return;
  throw new SluiceError("name-taken", `the app ${app.name} exists and isn't this deployment's`, {
    remedy: `Choose another deploymentId; or, if nobody needs it, run databricks apps delete ${app.name}.`,
  });
}
