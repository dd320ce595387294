import { version } from "../../runtime/version";
import { requireOurs } from "./databricks-app-check";
import { deployAndWait, waitForCompute, waitUntilHealthy } from "./databricks-app-health";
import { answerOf } from "./databricks-app-inspection";
import { appPackage, packageFile, packRuntime } from "./databricks-app-package";
import { removeApp } from "./databricks-app-removal";
import { type AppSource, appSource, resourceName } from "./databricks-app-source";
import type { AppSettings, AppsApi } from "./databricks-apps-api";
import { describeProcess, digestOf, processFolder, processName } from "./databricks-names";
import type { DatabricksOptions } from "./databricks-options";
import { putSecrets } from "./databricks-secrets";
import type { ProcessSpec } from "./deployment";
import { hostTether } from "./host-tether";

/** Makes a process's app run as specified, in this version, and waits until it is healthy; what was there stays when that fails. */
export async function applyApp(
  api: AppsApi,
  options: DatabricksOptions,
  spec: ProcessSpec,
  tethered: boolean,
  lookMs: number,
): Promise<Record<string, never>> {
  const { directory } = spec;
  const name = processName(directory);
  const source = appSource(spec);
  const found = await api.app(name);
  if (found !== null) requireOurs(found, directory);
  const path = `${processFolder(options, directory)}/${deployedAs(source, options)}`;
  const before = found?.active_deployment?.source_code_path;
  try {
    const placed = await putSecrets(api, options, spec, source.secrets, "app");
    const resources = placed.map(({ variable, scope, key }) => ({
      name: resourceName(variable),
      secret: { scope, key, permission: "READ" as const },
    }));
    const former = found === null ? null : await answerOf(api, found);
    // A secret that is a value may be another, and a process has the one of its deployment.
    const isSettled = before === path && Object.keys(spec.secretFiles).length === 0;
    if (isSettled && former?.isHealthy === true && former.status.version === version) return {};
    const tether = tethered ? hostTether() : null;
    const settings: AppSettings = {
      description: describeProcess(directory, tether),
      resources,
      ...(options.computeSize === undefined ? {} : { compute_size: options.computeSize }),
    };
    if (found === null) await api.create(name, settings);
    else await api.update(name, settings);
    const runtime = { [packageFile]: await packRuntime(), "package.json": JSON.stringify(appPackage, null, 2) };
    await api.writeFolder(path, { ...runtime, ...source.files });
    await waitForCompute(api, name, lookMs);
    await deployAndWait(api, name, path, lookMs);
    await waitUntilHealthy(api, name, spec, { formerStart: former?.status.startedAt, lookMs });
    if (before !== undefined && before !== path) await api.removeFolder(before);
    return {};
  } catch (error) {
    if (found === null) await removeApp(api, options, directory, lookMs).catch(() => {});
    else if (before !== undefined && before !== path) await goBack(api, name, before, path, lookMs);
    throw error;
  }
}

/** Another size of compute or another scope is another deployment. */
function deployedAs({ digest }: AppSource, { computeSize, secretScope }: DatabricksOptions): string {
  return digestOf([digest, computeSize, secretScope]);
}

/** As well as it can be: the failure that led here is what is told. */
async function goBack(api: AppsApi, name: string, before: string, left: string, lookMs: number): Promise<void> {
  try {
    await deployAndWait(api, name, before, lookMs);
    await api.removeFolder(left);
  } catch {
    console.log(`warning: the app ${name} couldn't be deployed as it was before; the next update does it`);
  }
}
