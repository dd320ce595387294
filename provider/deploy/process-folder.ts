import { mkdirSync, rmSync, statSync } from "node:fs";
import { join } from "node:path";
import { SluiceError } from "../../runtime/errors";
import type { ProcessSpec } from "./deployment";
import { type Owner, pruneSecrets, writePrivate } from "./private-files";
import { processFiles, readText } from "./process-files";
import { variableContent } from "./secret-origin";

/** All that a process gets of our environment, besides its secrets. */
const passedVariables = ["PATH", "HOME", "LANG", "TZ", "NODE_EXTRA_CA_CERTS"];

export function environmentOf({ secretVariables }: ProcessSpec): Record<string, string> {
  const names = [...passedVariables, ...secretVariables];
  return Object.fromEntries(
    names.flatMap((name) => (process.env[name] === undefined ? [] : [[name, process.env[name] as string]])),
  );
}

/** Values of the variables that hold its secrets. @throws SluiceError `config`: one isn't set */
export function variablesOf({ secretVariables }: Pick<ProcessSpec, "secretVariables">): Record<string, string> {
  const instead = 'give a file: { file: "/path/to/secret" }';
  return Object.fromEntries(secretVariables.map((name) => [name, variableContent(name, instead)]));
}

/** Written anew as a whole, and only where they differ; those of before go. `owner`: this user, where nobody is given. */
export function writeSecrets({ directory, secretFiles }: ProcessSpec, owner?: Owner): void {
  for (const [name, content] of Object.entries(secretFiles)) {
    const path = join(directory, name);
    if (readText(path) === content && (statSync(path).mode & 0o777) === 0o600) continue;
    writePrivate(path, content, owner);
  }
  pruneSecrets(directory, secretFiles);
}

/**
 * The folder of a process that is to start: its configuration and secrets, and nothing that an earlier one said of itself.
 * @param mark writes what else is there, before the configuration
 * @throws SluiceError `process`
 */
export function writeFolder(spec: ProcessSpec, configuration: string, mark: () => void, owner?: Owner): void {
  const file = (name: string) => join(spec.directory, name);
  try {
    mkdirSync(spec.directory, { recursive: true, mode: 0o700 });
    for (const stale of [processFiles.status, processFiles.started, processFiles.supervisor]) {
      rmSync(file(stale), { force: true });
    }
    writeSecrets(spec, owner);
    mark();
    writePrivate(file(processFiles.configuration), configuration, owner);
  } catch (cause) {
    throw new SluiceError("process", `the folder ${spec.directory} can't be written: ${(cause as Error).message}`, {
      remedy: "Choose a stateDir where this user may write.",
      cause,
    });
  }
}
