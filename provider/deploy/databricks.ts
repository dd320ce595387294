import { createHash } from "node:crypto";
import { hostname } from "node:os";
import { setTimeout as pause } from "node:timers/promises";
import { z } from "zod";
import { resolveWorkspace } from "../../runtime/databricks/workspace";
import { WorkspaceClient } from "../../runtime/databricks/workspace-client";
import { SluiceError } from "../../runtime/errors";
import { identifyProcess, isAlive, processIdentitySchema } from "../../runtime/process-identity";
import { version } from "../../runtime/version";
import { askApp, deployAndWait, platformTimeoutMs, waitForCompute, waitUntilHealthy } from "./databricks-app-health";
import { appPackage, packageFile, packRuntime } from "./databricks-app-package";
import {
  type AppRecord,
  type AppSource,
  appName,
  appProblem,
  appSource,
  describeApp,
  keyInScope,
  readDescription,
  resourceName,
  secretContents,
} from "./databricks-app-source";
import { type App, type AppSettings, AppsApi } from "./databricks-apps-api";
import type { DatabricksOptions } from "./databricks-options";
import type { Deployment, Inspection, ProcessSpec, StagingPlace } from "./deployment";
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
  /** Connections end with the operation: a provider may live long. */
  const within = async <T>(work: (api: AppsApi) => Promise<T>): Promise<T> => {
    const client = new WorkspaceClient(requireOAuth(resolveWorkspace(options.workspace)));
    try {
      return await work(new AppsApi(client));
    } finally {
      client.close();
    }
  };
  return {
    isHere: false,
    staging: noFolders,
    async preflight(spec) {
      try {
        const problem = spec === null ? null : appProblem(spec);
        if (problem !== null) return problem;
        await within((api) => checkWorkspace(api, options, spec));
        return null;
      } catch (error) {
        if (error instanceof SluiceError) return error;
        throw error;
      }
    },
    apply: (spec, { tethered = false } = {}) => within((api) => applyApp(api, options, spec, tethered, lookMs)),
    keep: (directory) =>
      within(async (api) => {
        const app = await api.app(appName(directory));
        if (app === null || readDescription(app.description)?.directory !== directory) return;
        // What isn't told again might be taken for what isn't wanted any more.
        const { resources, compute_size } = app;
        await api.update(app.name, { description: describeApp(directory, null), resources, compute_size });
      }),
    inspect: (directory) => within((api) => inspectApp(api, options, directory)),
    status: (directory) =>
      within(async (api) => {
        const app = await api.app(appName(directory));
        return app === null ? null : ((await ask(api, app))?.status ?? null);
      }),
    remove: (directory) => within((api) => removeApp(api, options, directory, lookMs)),
    // A warehouse is reached from anywhere.
    dropTables: dropFromHere,
    sweep: (stateDir) =>
      within(async (api) => {
        for (const { description } of await api.apps()) {
          const mine = readDescription(description);
          if (mine === null || mine.tether === null || !mine.directory.startsWith(`${stateDir}/`)) continue;
          if (isAbandoned(mine.tether)) await removeApp(api, options, mine.directory, lookMs);
        }
      }),
  };
}

/** An app answers no personal access token. @throws SluiceError `config` */
function requireOAuth(workspace: ReturnType<typeof resolveWorkspace>) {
  if (workspace.identity.kind === "oauth") return workspace;
  throw new SluiceError("config", `Databricks: ${workspace.origin} gives a token, and an app answers to OAuth alone`, {
    remedy: "Give deployment.workspace clientId and clientSecret of a service principal that may make apps.",
  });
}

/** What only a volume can be. */
const noFolders: StagingPlace = {
  inspect: async () => ({ kind: "free" }),
  make: async (path) => {
    throw new SluiceError("config", `an app keeps no files: its staging can't be ${path}`, {
      remedy: 'Stage in a Unity Catalog volume, the Gateway\'s staging: { kind: "volume", … }.',
    });
  },
  remove: async () => true,
};

async function checkWorkspace(api: AppsApi, options: DatabricksOptions, spec: ProcessSpec | null): Promise<void> {
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
function requireOurs(app: App, directory: string): void {
  if (readDescription(app.description)?.directory === directory) return;
  throw new SluiceError("name-taken", `the app ${app.name} exists and isn't this deployment's`, {
    remedy: `Choose another deploymentId; or, if nobody needs it, run databricks apps delete ${app.name}.`,
  });
}

const folderOf = ({ folder }: DatabricksOptions, directory: string) => `${folder}/${appName(directory)}`;

async function applyApp(
  api: AppsApi,
  options: DatabricksOptions,
  spec: ProcessSpec,
  tethered: boolean,
  lookMs: number,
): Promise<Record<string, never>> {
  const { directory } = spec;
  const name = appName(directory);
  const source = appSource(spec);
  const found = await api.app(name);
  if (found !== null) requireOurs(found, directory);
  const path = `${folderOf(options, directory)}/${deployedAs(source, options)}`;
  const before = found?.active_deployment?.source_code_path;
  try {
    const resources = await putSecrets(api, options, spec, source);
    const former = found === null ? null : await ask(api, found);
    // A secret that is a value may be another, and a process has the one of its deployment.
    const isSettled = before === path && Object.keys(spec.secretFiles).length === 0;
    if (isSettled && former?.isHealthy === true && former.status.version === version) return {};
    const tether = tethered ? JSON.stringify({ host: hostname(), ...identifyProcess(process.pid) }) : null;
    const settings: AppSettings = {
      description: describeApp(directory, tether),
      resources,
      ...(options.computeSize === undefined ? {} : { compute_size: options.computeSize }),
    };
    if (found === null) await api.create(name, settings);
    else await api.update(name, settings);
    await writeSource(api, path, source);
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
  return createHash("sha256")
    .update(JSON.stringify([digest, computeSize, secretScope]))
    .digest("hex")
    .slice(0, 16);
}

const ask = async (api: AppsApi, app: App) =>
  app.url === undefined || app.compute_status?.state !== "ACTIVE" ? null : askApp(app.url, api.client.workspace);

/** The variables' secrets, each as a resource of the app. */
async function putSecrets(api: AppsApi, { secretScope }: DatabricksOptions, spec: ProcessSpec, source: AppSource) {
  const scope = secretScope ?? appName(spec.directory);
  const names = Object.keys(source.secrets).sort();
  if (secretScope === undefined && names.length > 0) {
    const contents = secretContents(spec, source.secrets);
    await api.makeScope(scope);
    for (const name of names) await api.putSecret(scope, name, contents[name]);
  }
  return names.map((name) => ({
    name: resourceName(name),
    secret: {
      scope,
      key: secretScope === undefined ? name : keyInScope(scope, source.secrets[name]),
      permission: "READ" as const,
    },
  }));
}

async function writeSource(api: AppsApi, path: string, { files }: AppSource): Promise<void> {
  await api.makeFolder(path);
  await api.writeFile(`${path}/${packageFile}`, await packRuntime());
  await api.writeFile(`${path}/package.json`, Buffer.from(JSON.stringify(appPackage, null, 2)));
  for (const [name, content] of Object.entries(files)) await api.writeFile(`${path}/${name}`, Buffer.from(content));
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

const recordSchema: z.ZodType<AppRecord> = z.object({
  directory: z.string(),
  configuration: z.string(),
  version: z.string(),
});

async function inspectApp(api: AppsApi, options: DatabricksOptions, directory: string): Promise<Inspection> {
  const name = appName(directory);
  const app = await api.app(name);
  if (app === null) return { kind: "absent" };
  if (readDescription(app.description)?.directory !== directory) return { kind: "foreign", what: `the app ${name}` };
  const path = app.active_deployment?.source_code_path;
  const record = path === undefined ? null : parseRecord(await api.readFile(`${path}/record.json`));
  const isElsewhere = path !== undefined && !path.startsWith(`${folderOf(options, directory)}/`);
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
  const answer = await ask(api, app);
  const said = answer?.status.state;
  if (answer === null) return { kind: "failed", message: "its app doesn't answer", ...settings };
  if (said?.kind === "failed") return { kind: "failed", message: said.message, remedy: said.remedy, ...settings };
  return { kind: "running", ...settings };
}

function parseRecord(text: string | null): AppRecord | null {
  try {
    return text === null ? null : recordSchema.parse(JSON.parse(text));
  } catch {
    return null;
  }
}

/** App, secrets, sources; each verified to be gone. @throws SluiceError `timeout` */
async function removeApp(api: AppsApi, options: DatabricksOptions, directory: string, lookMs: number): Promise<void> {
  const name = appName(directory);
  const found = await api.app(name);
  if (found !== null) {
    if (readDescription(found.description)?.directory !== directory) return;
    await api.delete(name);
    await untilGone(async () => (await api.app(name)) === null, `the app ${name}`, lookMs);
  }
  if (options.secretScope === undefined) {
    await api.deleteScope(name);
    await untilGone(async () => (await api.secretKeys(name)) === null, `the secret scope ${name}`, lookMs);
  }
  const folder = folderOf(options, directory);
  await api.removeFolder(folder);
  await untilGone(async () => !(await api.hasPath(folder)), `the folder ${folder}`, lookMs);
}

async function untilGone(isGone: () => Promise<boolean>, what: string, lookMs: number): Promise<void> {
  const deadline = Date.now() + platformTimeoutMs;
  while (!(await isGone())) {
    if (Date.now() > deadline) {
      throw new SluiceError("timeout", `${what} isn't gone after ${platformTimeoutMs / 60_000} minutes`, {
        remedy: "Look at it in the workspace, then run the same again.",
      });
    }
    await pause(lookMs);
  }
}

const tetherSchema = z.object({ host: z.string(), ...processIdentitySchema.shape });

/** An app doesn't see the provider: it is swept, from this very machine. */
function isAbandoned(text: string): boolean {
  try {
    const tether = tetherSchema.parse(JSON.parse(text));
    return tether.host === hostname() && !isAlive(tether);
  } catch {
    return false;
  }
}
