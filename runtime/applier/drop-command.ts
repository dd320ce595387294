import type { RuntimeConfig } from "../config";
import { SluiceError } from "../errors";
import { dropPipelineTables, folderOf, type TableFate } from "./pipeline-drop";

/** `sluice drop-tables`: a line for each table. It ends with whoever started it, where that is a provider. */
export async function printDrop(config: RuntimeConfig, isConfirmed: boolean): Promise<void> {
  if (config.role !== "applier") {
    throw new SluiceError("config", "sluice drop-tables: the configuration is a gateway's", {
      remedy: "Give the applier's: <stateDir>/<id>/applier/config.json.",
    });
  }
  if (!isConfirmed) {
    throw new SluiceError("config", `sluice drop-tables drops the Delta tables in ${folderOf(config)}`, {
      remedy: "Stop the applier, then give --yes.",
    });
  }
  process.on("disconnect", () => process.exit(1));
  await dropPipelineTables(config, (fate) => process.stdout.write(`${describeFate(fate)}\n`));
}

function describeFate(fate: TableFate): string {
  switch (fate.kind) {
    case "dropped":
      return `Delta table ${fate.path} is dropped`;
    case "kept":
      return `warning: Delta table ${fate.path} stays: ${fate.reason}`;
  }
}
