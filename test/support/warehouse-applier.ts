import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TableKind } from "../../runtime/applier/applied-table";
import { ApplierTables } from "../../runtime/applier/applier-tables";
import { TableRuns } from "../../runtime/applier/table-runs";
import { applyByTrigger } from "../../runtime/applier/trigger-loop";
import { WarehouseTableApplier } from "../../runtime/applier/warehouse-table-applier";
import type { SqlSession } from "../../runtime/destination/databricks/sql-session";
import { Warehouse } from "../../runtime/destination/databricks/warehouse";
import { RunHistory } from "../../runtime/operate/run-history";
import { runFile } from "../../runtime/operate/run-place";
import type { NamedTableOptions } from "../../runtime/table-options";
import type { StagedLog } from "../runtime/applier/staged-log";

export const catalog = "spark_catalog";

export interface WarehouseRun {
  tables: NamedTableOptions[];
  schema: string;
  /** what becomes of a session, to be cut off somewhere */
  through?: (session: SqlSession) => SqlSession;
  batchBytesMax?: number;
}

/** Applies what is staged to an engine, as a process with trigger `once` does. @throws what a table has failed with */
export async function applyToWarehouse(
  log: StagedLog,
  open: () => Promise<SqlSession>,
  run: WarehouseRun,
): Promise<void> {
  const config = log.config();
  const warehouse = new Warehouse(
    {
      catalog,
      schema: run.schema,
      writer: "lane",
      access: { form: "parquet", root: config.stagingPath },
      parallelMax: 4,
    },
    async () => (run.through ?? ((session) => session))(await open()),
  );
  const kind: TableKind = {
    parallelMax: 4,
    make: (tableId, known, shared) =>
      new WarehouseTableApplier(tableId, known, { ...shared, warehouse, defaultSchema: run.schema }),
  };
  const history = await RunHistory.open(runFile(join(mkdtempSync(join(tmpdir(), "sluice-runs-")), "runs.jsonl")), 5);
  const tables = await ApplierTables.open(log.store, log.logId, config.id, kind, {
    tables: run.tables,
    onRemove: "keep",
    maintenance: config.maintenance,
    runs: new TableRuns(history, null),
    batchBytesMax: run.batchBytesMax ?? 64 * 1024 * 1024,
  });
  const signal = new AbortController().signal;
  try {
    await applyByTrigger(tables, { kind: "once" }, { signal, setState: () => {} });
    await tables.close();
  } finally {
    await warehouse.close();
  }
}
