import * as pulumi from "@pulumi/pulumi";
import { moduleName, StoredProvider } from "./dynamic-provider";
import type { ProcessArgs } from "./source";

/** Where the tables are written: Delta tables at `<path>/<schema>/<table>`; `path` is absolute. */
export interface DestinationArgs {
  kind: pulumi.Input<"local">;
  path: pulumi.Input<string>;
}

/** `continuous` looks for staged commits every `intervalMs` (default 500); `once` applies what is staged and ends. */
export type TriggerArgs = { kind: "continuous"; intervalMs?: number } | { kind: "once" };

export interface IngestionPipelineArgs extends ProcessArgs {
  /** `gateway.deploymentId`. Replaces. */
  deploymentId: pulumi.Input<string>;
  /** `gateway.stagingPath`. Replaces. */
  stagingPath: pulumi.Input<string>;
  /** `gateway.incarnation`. Replaces. */
  stagingIncarnation: pulumi.Input<string>;
  /** Restarts the process; tables at the former place stay there. */
  destination: pulumi.Input<DestinationArgs>;
  /** Default `{ kind: "continuous" }`. Restarts the process. */
  trigger?: pulumi.Input<TriggerArgs>;
  /** Memory for finding the rows that a batch changes, in bytes; default 1 GiB. Restarts the process. */
  memoryBytesMax?: pulumi.Input<number>;
}

const provider = new StoredProvider("IngestionPipeline");

/**
 * The supervised process that applies what is staged to Delta tables, exactly once. Delete stops it; the tables stay.
 */
export class IngestionPipeline extends pulumi.dynamic.Resource {
  /** File with the status document. */
  declare readonly statusPath: pulumi.Output<string>;
  /** The destination's `path`. */
  declare readonly destinationPath: pulumi.Output<string>;

  constructor(name: string, args: IngestionPipelineArgs, options?: pulumi.CustomResourceOptions) {
    const outputs = { statusPath: undefined, destinationPath: undefined };
    super(provider, name, { ...outputs, ...args }, options, moduleName, "IngestionPipeline");
  }
}
