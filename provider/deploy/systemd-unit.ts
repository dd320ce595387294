import { createHash } from "node:crypto";
import { join } from "node:path";
import { containerName, foldersWritten } from "./container-spec";
import type { ProcessSpec } from "./deployment";
import { processFiles } from "./process-files";
import type { Scope } from "./systemd-options";

/** In the process's folder: what its environment is, secrets too where there are no credentials; for this user alone. */
export const environmentFile = "environment";

/** In the process's folder, for this user alone: a secret that systemd hands to the process as its credential. */
export const credentialFile = (variable: string) => join("credentials", variable);

/** `/state/orders/gateway` → `sluice-orders-gateway.service`. */
export const unitName = (directory: string) => `${containerName(directory)}.service`;

/** Pure: it is to be enabled, so that it runs after a start of the machine too. */
export const isInstalled = (text: string) => /^\[Install\]$/m.test(text);

export interface UnitPlace {
  scope: Scope;
  /** whose process it is, where it isn't the manager's */
  user?: string;
  /** secrets are credentials, which no other process sees, not variables */
  hasCredentials: boolean;
  /** absolute */
  nodePath: string;
  mainPath: string;
}

/**
 * Pure: the unit's file. Its section X-Sluice, which systemd leaves alone, tells whose it is and what it was.
 * https://www.freedesktop.org/software/systemd/man/latest/systemd.unit.html
 */
export function renderUnit(spec: ProcessSpec, place: UnitPlace): string {
  const { config, directory, secretVariables, stopTimeoutMs } = spec;
  const credentials = place.hasCredentials ? secretVariables : [];
  const command = [
    place.nodePath,
    place.mainPath,
    config.role,
    "--config",
    join(directory, processFiles.configuration),
  ];
  const isOnce = config.role === "applier" && config.trigger?.kind === "once";
  const isSystem = place.scope === "system";
  const lines = [
    "[Unit]",
    `Description=Sluice: ${config.role} of ${config.id}`,
    ...(isSystem ? ["Wants=network-online.target", "After=network-online.target"] : []),
    // However often it crashes, it is started again.
    "StartLimitIntervalSec=0",
    "",
    "[Service]",
    "Type=exec",
    ...(place.user === undefined ? [] : [`User=${place.user}`]),
    // The colon keeps systemd from replacing variables.
    `ExecStart=:${command.map(quoted).join(" ")}`,
    `WorkingDirectory=${specifiersEscaped(directory)}`,
    `EnvironmentFile=${specifiersEscaped(join(directory, environmentFile))}`,
    ...credentials.map((name) => `LoadCredential=${name}:${specifiersEscaped(join(directory, credentialFile(name)))}`),
    "Restart=on-failure",
    "RestartSec=2",
    "KillMode=mixed",
    `TimeoutStopSec=${Math.ceil(stopTimeoutMs / 1_000)}`,
    ...hardening(spec, place),
    ...(isOnce ? [] : ["", "[Install]", `WantedBy=${isSystem ? "multi-user.target" : "default.target"}`]),
    "",
  ];
  const body = lines.join("\n");
  return `${body}\n[X-Sluice]\nDirectory=${directory}\nDigest=${digestOf(body)}\n`;
}

const digestOf = (text: string) => createHash("sha256").update(text).digest("hex");

/** A user's manager may not have namespaces of mounts: there only what needs none is taken away. */
function hardening(spec: ProcessSpec, { scope, nodePath, mainPath }: UnitPlace): string[] {
  const anywhere = [
    "NoNewPrivileges=yes",
    "LockPersonality=yes",
    "RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX",
    "RestrictNamespaces=yes",
    "RestrictRealtime=yes",
    "RestrictSUIDSGID=yes",
    "SystemCallArchitectures=native",
  ];
  if (scope === "user") return anywhere;
  const folders = foldersWritten(spec);
  const isTemporary = [...folders, nodePath, mainPath].some((path) => /^\/(var\/)?tmp(\/|$)/.test(path));
  return [
    ...anywhere,
    "CapabilityBoundingSet=",
    "PrivateDevices=yes",
    // One of its own would hide what of it is there.
    ...(isTemporary ? [] : ["PrivateTmp=yes"]),
    "ProtectClock=yes",
    "ProtectControlGroups=yes",
    "ProtectHostname=yes",
    "ProtectKernelLogs=yes",
    "ProtectKernelModules=yes",
    "ProtectKernelTunables=yes",
    "ProtectSystem=strict",
    `ReadWritePaths=${[...folders, ...(isTemporary ? ["/tmp"] : [])].map(quoted).join(" ")}`,
  ];
}

const specifiersEscaped = (text: string) => text.replaceAll("%", "%%");

/** One word of a line (systemd.syntax(7), "Quoting"). */
function quoted(word: string): string {
  return `"${specifiersEscaped(word).replaceAll("\\", "\\\\").replaceAll('"', '\\"')}"`;
}

/** Pure: an EnvironmentFile= (systemd.exec(5)): of what double quotes keep, four characters need a backslash. */
export function renderEnvironment(variables: Record<string, string>): string {
  return Object.entries(variables)
    .map(([name, value]) => `${name}="${value.replaceAll(/["\\`$]/g, "\\$&")}"\n`)
    .join("");
}

/** Whose a unit is. */
export type UnitMark =
  /** `isWritten`: as we wrote it */
  { kind: "own"; directory: string; isWritten: boolean } | { kind: "foreign" };

/** Pure. */
export function readMark(text: string): UnitMark {
  const found = /^([\s\S]*?)\n\[X-Sluice\]\nDirectory=(.*)\nDigest=([0-9a-f]{64})\n/.exec(text);
  if (found === null) return { kind: "foreign" };
  const [all, body, directory, digest] = found;
  return { kind: "own", directory, isWritten: digestOf(body) === digest && all.length === text.length };
}
