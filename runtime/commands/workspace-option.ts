import type { RuntimeConfig } from "../config";
import { type WorkspaceSettings, workspaceSchema } from "../databricks-config";
import { SluiceError } from "../errors";

/** How a command is told its workspace: a process's own, whose staging is there, or by address and profile. */
export interface WorkspaceOption {
  config?: RuntimeConfig;
  host?: string;
  profile?: string;
}

/** Pure. @throws SluiceError `config` when a configuration has none, or the settings can't be together */
export function workspaceSettings(command: string, { config, host, profile }: WorkspaceOption): WorkspaceSettings {
  const wrong = (message: string, remedy: string) => new SluiceError("config", `${command}: ${message}`, { remedy });
  const staging = config?.staging.kind === "volume" ? config.staging : undefined;
  if (config !== undefined && staging === undefined) {
    throw wrong("the configuration has no workspace: its staging is a folder", "Give --host or --profile instead.");
  }
  const said = { ...(host === undefined ? {} : { host }), ...(profile === undefined ? {} : { profile }) };
  const parsed = workspaceSchema.safeParse(staging === undefined ? said : { ...staging.workspace, ...said });
  if (!parsed.success) throw wrong(parsed.error.issues[0].message, "See sluice --help.");
  return parsed.data;
}
