import { join } from "node:path";
import type { ProcessSpec } from "../deploy/deployment";
import { processFiles } from "../deploy/process-files";
import { deploymentFolder } from "../deploy/staging-folder";
import { pick } from "./connection";
import type { Destination } from "./ingestion-pipeline-inputs";
import type { Properties } from "./lifecycle";
import { stagingConfig, stagingVariables } from "./staging-input";
import { namedOptions } from "./table-options";
import { destinationConfig, destinationVariables } from "./warehouse-destination";

/** Inputs that are parts of the configuration by their names. */
export const applierConfigKeys = ["onRemove", "trigger", "maintenance", "runsKeptMax", "memoryBytesMax"];

/** The process as these inputs want it. */
export function applierSpec(inputs: Properties): ProcessSpec {
  const directory = join(pipelineFolder(inputs), "applier");
  return {
    directory,
    config: {
      version: 1,
      role: "applier",
      id: inputs.deploymentId as string,
      statusPath: join(directory, processFiles.status),
      http: { port: (inputs.httpPort as number | undefined) ?? 0 },
      stagingPath: inputs.stagingPath as string,
      ...stagingConfig(inputs, directory),
      destination: destinationConfig(inputs.destination as Destination),
      // A pipeline of before this option has a configuration without it.
      ...(inputs.tableOptions === undefined ? {} : { tables: namedOptions(inputs.tableOptions) }),
      ...pick(inputs, applierConfigKeys),
    },
    secretVariables: [...stagingVariables(inputs), ...destinationVariables(inputs.destination as Destination)],
    secretFiles: {},
    startTimeoutMs: inputs.startTimeoutMs as number,
    stopTimeoutMs: inputs.stopTimeoutMs as number,
  };
}

/** With the process, and the gateway's where that is on this machine. */
export const pipelineFolder = (inputs: Properties) =>
  deploymentFolder(inputs.stateDir as string, inputs.deploymentId as string);
