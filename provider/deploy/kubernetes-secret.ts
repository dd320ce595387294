import { readFileSync } from "node:fs";
import { SluiceError } from "../../runtime/errors";
import type { ProcessSpec } from "./deployment";
import type { SecretOrigin } from "./kubernetes-source";

/** Content of the pod's Secret, by key. @throws SluiceError `config` */
export function secretData(spec: ProcessSpec, origins: Record<string, SecretOrigin>): Record<string, string> {
  return Object.fromEntries(Object.entries(origins).map(([key, origin]) => [key, contentOf(spec, origin)]));
}

function contentOf({ secretFiles }: ProcessSpec, origin: SecretOrigin): string {
  switch (origin.kind) {
    case "value":
      return secretFiles[origin.name];
    case "variable": {
      const value = process.env[origin.name];
      if (value !== undefined) return value;
      throw new SluiceError("config", `the environment variable ${origin.name} is not set`, {
        remedy: `Set ${origin.name} where Pulumi runs, or set deployment.existingSecret to a Secret with the key ${origin.name}.`,
      });
    }
    case "file":
      try {
        return readFileSync(origin.path, "utf8");
      } catch (cause) {
        throw new SluiceError("config", `the file ${origin.path} can't be read, which the pod is to have`, {
          remedy:
            "Put the file there, on the machine that runs Pulumi, or name a Secret that has it: deployment.existingSecret.",
          cause,
        });
      }
  }
}
