import { readFileSync } from "node:fs";
import { SluiceError } from "../../runtime/errors";
import type { ProcessSpec } from "./deployment";

/** Where the provider finds the content of a secret of a process that runs elsewhere. */
export type SecretOrigin =
  | { kind: "variable"; name: string }
  | { kind: "file"; path: string }
  /** of the process's `secretFiles` */
  | { kind: "value"; name: string };

/** Who is to have the secrets, and what a user may do instead of giving them here. */
export interface SecretReader {
  /** `pod`, `app` */
  reader: string;
  /** instead of a variable; @param name its name */
  orHave: (name: string) => string;
  /** instead of a file */
  orName: string;
}

/** The environment is that of Pulumi. @param instead what else may be done @throws SluiceError `config` */
export function variableContent(name: string, instead: string): string {
  const value = process.env[name];
  if (value !== undefined) return value;
  throw new SluiceError("config", `the environment variable ${name} is not set`, {
    remedy: `Set ${name} where Pulumi runs, or ${instead}.`,
  });
}

/** As it is on this machine. @param instead what else may be done @throws SluiceError `config` */
export function fileContent(path: string, reader: string, instead: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch (cause) {
    throw new SluiceError("config", `the file ${path} can't be read, which the ${reader} is to have`, {
      remedy: `Put the file there, on the machine that runs Pulumi, or ${instead}.`,
      cause,
    });
  }
}

/** @throws SluiceError `config` */
export function secretContent({ secretFiles }: ProcessSpec, origin: SecretOrigin, told: SecretReader): string {
  switch (origin.kind) {
    case "value":
      return secretFiles[origin.name];
    case "variable":
      return variableContent(origin.name, told.orHave(origin.name));
    case "file":
      return fileContent(origin.path, told.reader, told.orName);
  }
}
