import type { ApplierConfig } from "../config";
import { Warehouse } from "../destination/databricks/warehouse";
import { log } from "../operate/log";
import type { TableKind } from "./applied-table";
import { openSession } from "./session";
import { TableApplier } from "./table-applier";
import { removeDropped } from "./table-drop";
import { warehouseOptions, warehouseSessions } from "./warehouse-session";
import { WarehouseTableApplier } from "./warehouse-table-applier";

/** Part of the memory limit that a batch's compressed change files may take here: they grow when they're read. */
const batchPart = 16;

/** Tables of the kind that a configuration names, and what is to be closed behind them. */
export interface DestinationTables extends TableKind {
  /** for messages */
  location: string;
  /** staged changes of one batch, in bytes of their files */
  batchBytesMax: number;
  close(): Promise<void>;
}

/** @throws SluiceError `config`, `destination` */
export async function openDestination(
  config: ApplierConfig,
  { version, signal }: { version: string; signal: AbortSignal },
): Promise<DestinationTables> {
  const { destination } = config;
  switch (destination.kind) {
    case "local": {
      const session = await openSession(config, destination.path);
      await removeDropped(destination.path);
      const own = { session, destinationPath: destination.path, engineInfo: `sluice/${version}` };
      return {
        location: destination.path,
        batchBytesMax: config.memoryBytesMax / batchPart,
        // One engine, which uses all processors for one table.
        parallelMax: 1,
        make: (tableId, known, shared) => new TableApplier(tableId, known, { ...shared, ...own }),
        close: () => session.close(),
      };
    }
    case "databricks": {
      const { catalog, schema, parallelMax, batchBytesMax } = destination;
      const warehouse = new Warehouse(
        warehouseOptions(destination, { writer: config.id, stagingPath: config.stagingPath }),
        warehouseSessions(destination, {
          signal,
          onWait: (reason) => log("info", "warehouse-awaited", { reason }),
        }),
      );
      const own = { warehouse, defaultSchema: schema };
      return {
        location: `${catalog}.${schema}`,
        batchBytesMax,
        parallelMax,
        make: (tableId, known, shared) => new WarehouseTableApplier(tableId, known, { ...shared, ...own }),
        close: () => warehouse.close(),
      };
    }
  }
}
