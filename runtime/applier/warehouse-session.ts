import type { WarehouseDestination } from "../config";
import { HttpConnections } from "../databricks/http";
import { tokenSource } from "../databricks/token-source";
import { resolveWorkspace } from "../databricks/workspace";
import { openSqlSession } from "../destination/databricks/sql-session";
import { Warehouse } from "../destination/databricks/warehouse";

/** Settings of a session: staged times have no zone, and are UTC. */
const settingsOf = ({ engine, statementTimeoutMs }: WarehouseDestination) => [
  "SET TIME ZONE 'UTC'",
  ...(engine === "databricks" ? [`SET STATEMENT_TIMEOUT = ${Math.ceil(statementTimeoutMs / 1_000)}`] : []),
];

const tokenIdleMs = 30_000;

/**
 * The warehouse that a configuration names; nothing is sent yet.
 * @throws SluiceError `config` when the workspace isn't told, or a secret can't be read
 */
export function openWarehouse(
  destination: WarehouseDestination,
  {
    writer,
    stagingPath,
    signal,
    onWait,
  }: {
    writer: string;
    stagingPath: string;
    signal: AbortSignal;
    onWait: (reason: string) => void;
  },
): Warehouse {
  const { host, identity } = resolveWorkspace(destination);
  const { hostname, port } = new URL(host);
  const tokens = tokenSource(identity, { host, connections: new HttpConnections(host, 1), idleMsMax: tokenIdleMs });
  const path = destination.httpPath ?? `/sql/1.0/warehouses/${destination.warehouseId}`;
  return new Warehouse(
    {
      catalog: destination.catalog,
      schema: destination.schema,
      writer,
      access: {
        form: destination.engine === "databricks" ? "read_files" : "parquet",
        root: destination.stagedPath ?? stagingPath,
      },
      parallelMax: destination.parallelMax,
    },
    () =>
      openSqlSession(
        { host: hostname, port: port === "" ? undefined : Number(port), path },
        {
          tokens,
          statementTimeoutMs: destination.statementTimeoutMs,
          startTimeoutMs: destination.startTimeoutMs,
          settings: settingsOf(destination),
          signal,
          onWait,
        },
      ),
  );
}
