import type { RuntimeConfig } from "../config";
import { SluiceError } from "../errors";
import type { TableFate } from "./made-tables";
import { dropPipelineTables } from "./pipeline-drop";
import { dropWarehouseTables } from "./warehouse-drop";

/** `sluice drop-tables`: a line for each table. It ends with whoever started it, where that is a provider. */
export async function printDrop(config: RuntimeConfig, isConfirmed: boolean): Promise<void> {
  if (config.role !== "applier") {
    throw new SluiceError("config", "sluice drop-tables: the configuration is a gateway's", {
      remedy: "Give the applier's: <stateDir>/<id>/applier/config.json.",
    });
  }
  const { destination } = config;
  if (!isConfirmed) {
    const where = destination.kind === "local" ? destination.path : `${destination.catalog}.${destination.schema}`;
    throw new SluiceError("config", `sluice drop-tables drops the Delta tables in ${where}`, {
      remedy: "Stop the applier, then give --yes.",
    });
  }
  process.on("disconnect", () => process.exit(1));
  const tell = (fate: TableFate) => process.stdout.write(`${describeFate(fate)}\n`);
  switch (destination.kind) {
    case "local":
      return dropPipelineTables(config, destination.path, tell);
    case "databricks":
      return dropWarehouseTables(config, destination, tell);
  }
}

function describeFate(fate: TableFate): string {
  switch (fate.kind) {
    case "dropped":
      return `Delta table ${fate.path} is dropped`;
    case "kept":
      return `warning: Delta table ${fate.path} stays: ${fate.reason}`;
  }
}
