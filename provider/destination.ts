import * as pulumi from "@pulumi/pulumi";
import { SluiceError } from "../runtime/errors";
import type { PipelineDestinationArgs } from "./declarative-pipeline";
import type { DestinationArgs } from "./ingestion-pipeline";
import type { ManagedDestinationArgs } from "./managed-pipelines";

/** Who writes the tables: our applier, a declarative pipeline behind our gateway, or the vendor's pipelines for everything. */
export type Writer =
  | { by: "applier"; destination: pulumi.Input<DestinationArgs> }
  | { by: "pipeline"; destination: PipelineDestinationArgs }
  | { by: "managed"; destination: ManagedDestinationArgs };

/**
 * Pure. Which resources there are depends on it, so `mode` is in plain but where the applier writes.
 * @throws SluiceError `config`
 */
export function writerOf(
  destination: pulumi.Input<DestinationArgs> | PipelineDestinationArgs | ManagedDestinationArgs,
): Writer {
  if (pulumi.Output.isInstance(destination) || destination instanceof Promise) return { by: "applier", destination };
  if (typeof destination !== "object" || destination === null || !("mode" in destination)) {
    return { by: "applier", destination: destination as DestinationArgs };
  }
  const { mode } = destination;
  switch (mode) {
    case "pipeline":
      return { by: "pipeline", destination: destination as PipelineDestinationArgs };
    case "managed":
      return { by: "managed", destination: destination as ManagedDestinationArgs };
    case "warehouse":
      return { by: "applier", destination: destination as DestinationArgs };
    default:
      if (pulumi.Output.isInstance(mode) || mode instanceof Promise) return { by: "applier", destination };
      throw new SluiceError("config", `a databricks destination has no mode ${JSON.stringify(mode)}`, {
        remedy: 'Use mode: "warehouse", "pipeline" or "managed".',
      });
  }
}
