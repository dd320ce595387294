import type { Project } from "./project";
import { sdkEntry } from "./protocol";
import { TetheredProcess } from "./tethered-process";

export interface ProgramOptions {
  project: Project;
  stack: string;
  /** Address of the server that is monitor and engine. */
  address: string;
  dryRun: boolean;
  config: Record<string, string>;
  secretKeys: string[];
  env: Record<string, string | undefined>;
  onLine: (line: string) => void;
}

/** Starts the user's program under the SDK's own language runtime. */
export function startProgram(options: ProgramOptions): TetheredProcess {
  const { project, stack, address } = options;
  const flags: [string, string][] = [
    ["--monitor", address],
    ["--engine", address],
    ["--organization", "organization"],
    ["--project", project.name],
    ["--root-directory", project.rootDir],
    ["--stack", stack],
    ["--pwd", project.programDir],
    ["--parallel", "8"],
  ];
  return new TetheredProcess({
    script: sdkEntry("cmd/run"),
    args: [...flags.flat(), ...(options.dryRun ? ["--dry-run"] : []), project.entry],
    cwd: project.programDir,
    env: {
      ...options.env,
      PULUMI_NODEJS_TYPESCRIPT: String(project.typescript),
      PULUMI_CONFIG: JSON.stringify(options.config),
      PULUMI_CONFIG_SECRET_KEYS: JSON.stringify(options.secretKeys),
    },
    onLine: options.onLine,
  });
}
