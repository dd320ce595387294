import { existsSync, mkdirSync, rmSync } from "node:fs";
import { userInfo } from "node:os";
import { dirname, join } from "node:path";
import { SluiceError } from "../../runtime/errors";
import { version } from "../../runtime/version";
import { printOnce } from "../lifecycle/own-names";
import { foldersWritten } from "./container-spec";
import { type Deployment, type Inspection, renderConfiguration } from "./deployment";
import { makeFolder } from "./owned-folders";
import { packagedMainPath } from "./packaged-main";
import { writePrivate } from "./private-files";
import { processFiles, readSecretDigests, readStatus, readText, removeProcessFolder } from "./process-files";
import { variablesOf, writeFolder, writeSecrets } from "./process-folder";
import { waitUntilHealthy } from "./process-health";
import { stagingFolders } from "./staging-folder";
import { foldersPassed, giveFolders, requireDestination, writeEnvironment } from "./systemd-folder";
import { SystemdManager, unitFolder } from "./systemd-manager";
import type { Scope } from "./systemd-options";
import { isRunning, superviseUnit, unitCondition } from "./systemd-state";
import { isInstalled, readMark, renderUnit, unitName } from "./systemd-unit";
import { ownerOf, requireReachable } from "./systemd-user";
import { dropTables } from "./table-drop";
import { sweepAbandoned, tether, untether } from "./tether";

export interface SystemdOptions {
  scope: Scope;
  /** of scope `system`: whose the processes are; default root */
  user?: string;
  /** default: that which runs this */
  nodePath?: string;
  /** the runtime's entry; default: that of this package */
  mainPath?: string;
}

/** From here on it has LoadCredential=. */
const credentialsVersion = 247;

/** systemd's manager doesn't look whether the provider lives: a process doesn't end by itself, but is swept. */
const unitTether = "unit-tether.json";

/** Processes of this machine as units of systemd, one for each, known by a section of their files. */
export function systemdDeployment({
  scope,
  user,
  nodePath = process.execPath,
  mainPath = packagedMainPath(),
}: SystemdOptions): Deployment {
  const manager = new SystemdManager(scope);
  // A unit of the machine has no capability: also as root it writes only what is its user's.
  const owner = () => (scope === "user" ? undefined : user === undefined ? { uid: 0, gid: 0 } : ownerOf(user));
  return {
    isHere: true,
    staging: {
      ...stagingFolders,
      async make(path, stagingOwner) {
        const own = owner();
        if (own !== undefined) makeFolder(dirname(path), own);
        await stagingFolders.make(path, stagingOwner);
      },
    },
    dropTables: (spec) => dropTables(spec, { mainPath }),
    async preflight(spec) {
      try {
        if (spec !== null) refuseLineBreaks([spec.directory, nodePath, mainPath]);
        if (scope === "system" && process.geteuid?.() !== 0) throw notRoot();
        if (user !== undefined)
          requireReachable(user, { nodePath, mainPath, folders: spec === null ? [] : foldersPassed(spec) });
        await manager.ask();
        if (scope === "user") tellLinger();
        if (spec !== null) requireOwn(unitAt(scope, spec.directory), spec.directory);
        return null;
      } catch (error) {
        return error as SluiceError;
      }
    },
    async apply(spec, { tethered = false } = {}) {
      const { directory, config } = spec;
      const unit = unitAt(scope, directory);
      requireOwn(unit, directory);
      const configuration = renderConfiguration(config);
      // A user's own processes see all that the others have.
      const hasCredentials = scope === "system" && (await manager.ask()) >= credentialsVersion;
      const text = renderUnit(spec, { scope, user, hasCredentials, nodePath, mainPath });
      const found = await inspectUnit(manager, directory);
      const own = owner();
      if (found.kind !== "absent") writeSecrets(spec, own);
      const settled = found.kind === "running" || found.kind === "finished";
      const isSame = readText(unit.path) === text && "configuration" in found && found.configuration === configuration;
      if (settled && isSame && (found.version ?? version) === version) return {};
      const credentials = hasCredentials ? variablesOf(spec) : {};
      if (user !== undefined) requireReachable(user, { nodePath, mainPath, folders: foldersPassed(spec) });
      if (own !== undefined) requireDestination(spec, own);
      await stopUnit(manager, unit, spec.stopTimeoutMs);
      if (own !== undefined) giveFolders(spec, own);
      const mark = () => {
        writeEnvironment(spec, { credentials, isOther: user !== undefined });
        if (tethered) tether(directory, unitTether);
        else untether(directory, unitTether);
      };
      writeFolder(spec, configuration, mark, own);
      // What the sandbox lets it write to must be there.
      for (const path of foldersWritten(spec)) if (!existsSync(path)) mkdirSync(path, { recursive: true });
      writeUnit(unit, text);
      await manager.reload();
      if (isInstalled(text)) await manager.enable(unit.name);
      await manager.start(unit.name);
      await waitUntilHealthy(
        spec,
        async () => superviseUnit(await manager.show(unit.name)),
        () => manager.lastLines(unit.name, 5),
      );
      return {};
    },
    keep: async (directory) => untether(directory, unitTether),
    sweep: (stateDir, stopTimeoutMs) =>
      sweepAbandoned(stateDir, (directory) => removeUnit(manager, directory, stopTimeoutMs), unitTether),
    inspect: (directory) => inspectUnit(manager, directory),
    status: async (directory) => readStatus(directory),
    async remove(directory, stopTimeoutMs) {
      await removeUnit(manager, directory, stopTimeoutMs);
      removeProcessFolder(directory);
    },
  };
}

interface Unit {
  name: string;
  path: string;
}

function unitAt(scope: Scope, directory: string): Unit {
  const name = unitName(directory);
  return { name, path: join(unitFolder(scope), name) };
}

function isForeign(text: string, directory: string): boolean {
  const mark = readMark(text);
  return mark.kind === "foreign" || mark.directory !== directory;
}

/** @throws SluiceError `name-taken` */
function requireOwn({ name, path }: Unit, directory: string): void {
  const text = readText(path);
  if (text === null || !isForeign(text, directory)) return;
  throw new SluiceError("name-taken", `the unit ${name} exists and isn't this deployment's`, {
    remedy: `Choose another deploymentId; or, if nobody needs it, run systemctl disable --now ${name} and remove ${path}.`,
  });
}

async function inspectUnit(manager: SystemdManager, directory: string): Promise<Inspection> {
  const { name, path } = unitAt(manager.scope, directory);
  const text = readText(path);
  const state = await manager.show(name);
  const isElsewhere = state.loadState === "loaded" && state.fragmentPath !== path;
  if (text === null ? isElsewhere : isForeign(text, directory)) return { kind: "foreign", what: `the unit ${name}` };
  const configuration = readText(join(directory, processFiles.configuration));
  if (configuration === null) return { kind: "absent" };
  const status = readStatus(directory);
  const settings = { configuration, secrets: readSecretDigests(directory), version: status?.version };
  return { ...unitCondition(name, text, state, status), ...settings };
}

function writeUnit({ path }: Unit, text: string): void {
  try {
    mkdirSync(dirname(path), { recursive: true });
    writePrivate(path, text);
  } catch (cause) {
    throw new SluiceError("process", `the unit ${path} can't be written: ${(cause as Error).message}`, {
      remedy: 'Let this user write there, or use the other scope: "user", or "system" for root.',
      cause,
    });
  }
}

async function stopUnit(manager: SystemdManager, { name }: Unit, stopTimeoutMs: number): Promise<void> {
  if (isRunning(await manager.show(name))) await manager.stop(name, stopTimeoutMs);
  await manager.forget(name);
  const { activeState, mainPid } = await manager.show(name);
  if (activeState === "inactive" && mainPid === null) return;
  throw new SluiceError("process", `the unit ${name} does not stop: it is ${activeState}`, {
    remedy: `Look at systemctl status ${name}, then run the same again.`,
  });
}

/** And verifies that systemd knows it no more. One that isn't ours stays. */
async function removeUnit(manager: SystemdManager, directory: string, stopTimeoutMs: number): Promise<void> {
  const unit = unitAt(manager.scope, directory);
  const text = readText(unit.path);
  const before = await manager.show(unit.name);
  if (text === null ? before.fragmentPath !== unit.path : isForeign(text, directory)) return;
  await stopUnit(manager, unit, stopTimeoutMs);
  if (text !== null) await manager.disable(unit.name);
  rmSync(unit.path, { force: true });
  await manager.reload();
  const { loadState } = await manager.show(unit.name);
  if (loadState === "not-found") return;
  throw new SluiceError("process", `the unit ${unit.name} could not be removed: it is ${loadState}`, {
    remedy: `Look at systemctl cat ${unit.name}; remove its file and run systemctl daemon-reload.`,
  });
}

function refuseLineBreaks(paths: readonly string[]): void {
  const found = paths.find((path) => /[\r\n]/.test(path));
  if (found === undefined) return;
  throw new SluiceError("config", `a unit can't name the path ${JSON.stringify(found)}`, {
    remedy: "Choose a path without line breaks.",
  });
}

function notRoot(): SluiceError {
  return new SluiceError("permission", "units of the machine's systemd are made by root", {
    remedy: 'Run Pulumi as root, or use scope: "user".',
  });
}

function tellLinger(): void {
  const { username } = userInfo();
  if (existsSync(join("/var/lib/systemd/linger", username))) return;
  printOnce(
    `warning: systemd ends the units of ${username} with the last session, and begins them with the next: loginctl enable-linger ${username} lets them run without one`,
  );
}
