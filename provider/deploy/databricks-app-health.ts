import { setTimeout as pause } from "node:timers/promises";
import { HttpConnections, readBody } from "../../runtime/databricks/http";
import { tokenSource } from "../../runtime/databricks/token-source";
import type { Workspace } from "../../runtime/databricks/workspace";
import { SluiceError } from "../../runtime/errors";
import type { StatusDocument } from "../../runtime/status";
import { version } from "../../runtime/version";
import type { App, AppDeployment, AppsApi } from "./databricks-apps-api";
import { platformTimeoutMs } from "./databricks-removal";
import type { ProcessSpec } from "./deployment";

const documentBytesMax = 64 * 1024 * 1024;

export interface AppAnswer {
  status: StatusDocument;
  isHealthy: boolean;
}

/** Asks a process by its app's address, through the workspace's own front; null while it doesn't answer as ours do. */
export async function askApp(url: string, workspace: Workspace): Promise<AppAnswer | null> {
  const idleMsMax = 10_000;
  const home = new HttpConnections(workspace.host, 1);
  const connections = new HttpConnections(url, 1);
  try {
    const tokens = tokenSource(workspace.identity, { host: workspace.host, connections: home, idleMsMax });
    const headers = {
      authorization: `Bearer ${await tokens.token()}`,
      accept: "application/json",
      "user-agent": `sluice/${version}`,
    };
    const get = (path: string) => connections.send({ method: "GET", url: new URL(path, url), headers, idleMsMax });
    const told = await get("/api/status");
    const text = (await readBody(told, documentBytesMax)).toString("utf8");
    if (told.status !== 200) return null;
    const health = await get("/api/healthz");
    await readBody(health, 64 * 1024);
    return { status: JSON.parse(text) as StatusDocument, isHealthy: health.status === 200 };
  } catch {
    return null;
  } finally {
    home.close();
    connections.close();
  }
}

/** @throws SluiceError `process` or `timeout` */
export async function waitForCompute(api: AppsApi, name: string, lookMs: number): Promise<App> {
  const deadline = Date.now() + platformTimeoutMs;
  for (;;) {
    const app = await api.app(name);
    if (app === null) throw failed(`the app ${name} was removed before it ran`, "Run pulumi up again.");
    const { state = "STARTING", message = "" } = app.compute_status ?? {};
    if (state === "ACTIVE") return app;
    if (state === "ERROR") throw failed(`the app ${name} has no compute: ${message}`, "Mend what the message names.");
    if (state === "STOPPED") await api.start(name);
    if (Date.now() > deadline) throw late(`the compute of the app ${name} is ${state}: ${message}`);
    await pause(lookMs);
  }
}

/** Deploys, behind a deployment that is under way. @throws SluiceError `process` or `timeout` */
export async function deployAndWait(api: AppsApi, name: string, path: string, lookMs: number): Promise<void> {
  const deadline = Date.now() + platformTimeoutMs;
  let made: AppDeployment | null = null;
  for (;;) {
    if (made === null) made = await api.deploy(name, path);
    else made = await api.deployment(name, made.deployment_id);
    const { state = "IN_PROGRESS", message = "" } = made?.status ?? {};
    if (state === "SUCCEEDED") return;
    if (state === "FAILED" || state === "CANCELLED") {
      throw failed(
        `the app ${name} can't be deployed: ${message}`,
        `See its log (databricks apps logs ${name}): the platform installs packages by npm, and starts it.`,
      );
    }
    if (Date.now() > deadline) throw late(`the deployment of the app ${name} is ${state}: ${message}`);
    await pause(lookMs);
  }
}

/**
 * @param formerStart of the process that answered before, which may still for a moment
 * @throws SluiceError `process` with its own reason
 */
export async function waitUntilHealthy(
  api: AppsApi,
  name: string,
  { config, startTimeoutMs }: ProcessSpec,
  { formerStart, lookMs }: { formerStart: string | undefined; lookMs: number },
): Promise<void> {
  const deadline = Date.now() + startTimeoutMs;
  const fail = (message: string, remedy: string) =>
    new SluiceError("process", `the ${config.role} of ${config.id} ${message}`, { remedy });
  for (;;) {
    const app = await api.app(name);
    if (app?.app_status?.state === "CRASHED") {
      throw fail(`ends: ${app.app_status.message ?? "its app has crashed"}`, `See databricks apps logs ${name}.`);
    }
    const told = app?.url === undefined ? null : await askApp(app.url, api.client.workspace);
    const answer = told?.status.startedAt === formerStart ? null : told;
    const state = answer?.status.state;
    if (state?.kind === "failed") throw fail(`failed: ${state.message}`, state.remedy ?? "Correct what it says.");
    if (answer?.isHealthy === true && state?.kind === "running") return;
    if (Date.now() > deadline) {
      const reason =
        state?.kind === "waiting"
          ? state.reason
          : answer === null
            ? `its app doesn't answer (${app?.app_status?.message ?? app?.app_status?.state ?? "it is gone"})`
            : `it is ${state?.kind}`;
      throw fail(
        `is not healthy after ${startTimeoutMs} ms: ${reason}`,
        `See databricks apps logs ${name}; mend what it says, or raise startTimeoutMs.`,
      );
    }
    await pause(lookMs);
  }
}

const failed = (message: string, remedy: string) => new SluiceError("process", message, { remedy });
const late = (message: string) =>
  new SluiceError("timeout", `${message}, after ${platformTimeoutMs / 60_000} minutes`, {
    remedy: "See the app's page in the workspace, then run the same again.",
  });
