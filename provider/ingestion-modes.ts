import type * as pulumi from "@pulumi/pulumi";
import { SluiceError } from "../runtime/errors";
import { type Writer, writerOf } from "./destination";
import type { ManagedIngestionArgs, PostgresIngestionArgs } from "./postgres-ingestion";
import { orEndProgram, programError } from "./program-error";

/** @throws what ends the program: a mode that there isn't, or inputs that it has no use for */
export function knownWriter(component: pulumi.Resource, args: PostgresIngestionArgs | ManagedIngestionArgs): Writer {
  return orEndProgram(component, () => {
    const writer = writerOf(args.destination);
    if (writer.by === "managed") refuseOthers(args);
    if (writer.by === "pipeline") refuseWide(args as PostgresIngestionArgs);
    return writer;
  });
}

/** Inputs of what is ours, for programs whose types nobody checks. */
const ownInputs = ["standby", "allTables", "captureDdl", "stateDir", "deployment", "gateway", "applier"] as const;

function refuseOthers(args: PostgresIngestionArgs | ManagedIngestionArgs): void {
  const given = ownInputs.filter((input) => (args as Partial<PostgresIngestionArgs>)[input] !== undefined);
  if (given.length === 0) return;
  throw new SluiceError("config", `mode "managed" has no ${given.join(", ")}: nothing of ours runs`, {
    remedy: 'Leave it out, or use mode: "warehouse" or "pipeline".',
  });
}

/** What a declarative pipeline has nothing for: its source names each table, and nothing of ours applies. */
function refuseWide(args: PostgresIngestionArgs): void {
  const refuse = (what: string, remedy: string) => {
    throw new SluiceError("config", `mode "pipeline": ${what}`, { remedy });
  };
  if (args.schemas !== undefined || args.allTables !== undefined || args.tables === undefined) {
    refuse("its source declares each table, so that tables are named", "Give tables, and no schemas or allTables.");
  }
  if (args.applier !== undefined) refuse("there is no applier", "Leave applier out; see destination.schedule.");
  if (args.gateway?.staging === undefined) {
    refuse(
      "staging has to be in a Unity Catalog volume",
      'Give gateway: { staging: { kind: "volume", volume: "catalog.schema.volume" } }.',
    );
  }
}

/** A property that there isn't in this mode says so, rather than being undefined. */
export function leaveOut(component: pulumi.Resource, property: string, why: string): void {
  const get = () => {
    throw programError(
      component,
      new SluiceError("config", `there is no ${property}: ${why}`, { remedy: `Leave ${property} out of the program.` }),
    );
  };
  Object.defineProperty(component, property, { get, enumerable: false });
}
