import type { Workspace } from "../../runtime/databricks/workspace";
import { SluiceError } from "../../runtime/errors";
import { applyApp } from "./databricks-app-apply";
import { checkWorkspace } from "./databricks-app-check";
import { answerOf, inspectApp } from "./databricks-app-inspection";
import { removeApp, sweepApps } from "./databricks-app-removal";
import { AppsApi } from "./databricks-apps-api";
import { describeProcess, processName, readDescription } from "./databricks-names";
import type { DatabricksOptions } from "./databricks-options";
import { noFolders, problemOf, withWorkspace } from "./databricks-target";
import type { Deployment } from "./deployment";
import { dropFromHere } from "./table-drop";

/** For tests: how often the platform is asked. */
export interface Pace {
  lookMs: number;
}

/**
 * Databricks Apps of one workspace, one for each process, known by the process's folder in their descriptions. What an app is made
 * of is a folder of the workspace, named by its digest; its secrets are in a secret scope of its name, or in one that is there.
 */
export function databricksDeployment(options: DatabricksOptions, { lookMs }: Pace = { lookMs: 1_000 }): Deployment {
  const within = <T>(work: (api: AppsApi) => Promise<T>) =>
    withWorkspace(options, (client) => work(new AppsApi(client)), requireOAuth);
  return {
    isHere: false,
    staging: noFolders("an app"),
    preflight: (spec) => problemOf(spec, "app", () => within((api) => checkWorkspace(api, options, spec))),
    apply: (spec, { tethered = false } = {}) => within((api) => applyApp(api, options, spec, tethered, lookMs)),
    keep: (directory) =>
      within(async (api) => {
        const app = await api.app(processName(directory));
        if (app === null || readDescription(app.description)?.directory !== directory) return;
        // What isn't told again might be taken for what isn't wanted any more.
        const { resources, compute_size } = app;
        await api.update(app.name, { description: describeProcess(directory, null), resources, compute_size });
      }),
    inspect: (directory) => within((api) => inspectApp(api, options, directory)),
    status: (directory) =>
      within(async (api) => {
        const app = await api.app(processName(directory));
        return app === null ? null : ((await answerOf(api, app))?.status ?? null);
      }),
    remove: (directory) => within((api) => removeApp(api, options, directory, lookMs)),
    // A warehouse is reached from anywhere.
    dropTables: dropFromHere,
    sweep: (stateDir) => within((api) => sweepApps(api, options, stateDir, lookMs)),
  };
}

/** An app answers no personal access token. @throws SluiceError `config` */
function requireOAuth(workspace: Workspace): void {
  if (workspace.identity.kind === "oauth") return;
  throw new SluiceError("config", `Databricks: ${workspace.origin} gives a token, and an app answers to OAuth alone`, {
    remedy: "Give deployment.workspace clientId and clientSecret of a service principal that may make apps.",
  });
}
