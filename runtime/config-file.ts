import { readFileSync } from "node:fs";
import { z } from "zod";
import { type RuntimeConfig, runtimeConfigSchema } from "./config";
import { describeError, SluiceError } from "./errors";
import { version } from "./version";
import { readVersioned } from "./versioned-document";

/**
 * The configuration file as the provider wrote it; what an earlier provider didn't know has its default.
 * @throws SluiceError `config`, also when a newer provider wrote what this runtime doesn't know
 */
export function readConfigFile(path: string): RuntimeConfig {
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch (cause) {
    throw new SluiceError("config", `configuration file ${path} can't be read: ${describeError(cause)}`, {
      remedy: "Name a file that this user may read; pulumi up writes a lost one anew.",
      cause,
    });
  }
  const reading = readVersioned(text, runtimeConfigSchema, 1);
  switch (reading.kind) {
    case "read":
      return reading.value;
    case "newer":
      throw new SluiceError(
        "config",
        `configuration file ${path} has ${reading.what}: a newer version of pulumi-sluice wrote it, or a hand, and this runtime is ${version}`,
        {
          remedy: `Run the runtime, or the image, of the version that wrote it; or run pulumi up with pulumi-sluice@${version}.`,
        },
      );
    case "damaged": {
      const problem =
        reading.cause instanceof z.ZodError
          ? describeProblems(reading.cause)
          : `not JSON: ${describeError(reading.cause)}`;
      throw new SluiceError("config", `configuration file ${path}: ${problem}`, {
        remedy: "It is written by the provider: correct it, or run pulumi up.",
        cause: reading.cause,
      });
    }
  }
}

function describeProblems({ issues }: z.ZodError): string {
  return issues.map((issue) => `${issue.path.join(".") || "(root)"}: ${issue.message}`).join("; ");
}
