import type { WarehouseDestination } from "../config";
import { HttpConnections } from "../databricks/http";
import { tokenSource } from "../databricks/token-source";
import { resolveWorkspace } from "../databricks/workspace";
import { openSqlSession, type SqlSession } from "../destination/databricks/sql-session";
import type { WarehouseOptions } from "../destination/databricks/warehouse";

/** Settings of a session: staged times have no zone, and are UTC. */
const settingsOf = ({ engine, statementTimeoutMs }: WarehouseDestination) => [
  "SET TIME ZONE 'UTC'",
  ...(engine === "databricks" ? [`SET STATEMENT_TIMEOUT = ${Math.ceil(statementTimeoutMs / 1_000)}`] : []),
];

const tokenIdleMs = 30_000;

/** What a warehouse is, of a configuration. */
export function warehouseOptions(
  { catalog, schema, engine, stagedPath, parallelMax }: WarehouseDestination,
  { writer, stagingPath }: { writer: string; stagingPath: string },
): WarehouseOptions {
  const form = engine === "databricks" ? "read_files" : "parquet";
  return { catalog, schema, writer, access: { form, root: stagedPath ?? stagingPath }, parallelMax };
}

/**
 * Opens sessions on the warehouse that a configuration names; nothing is sent yet.
 * @throws SluiceError `config` when the workspace isn't told, or a secret can't be read
 */
export function warehouseSessions(
  destination: WarehouseDestination,
  { signal, onWait }: { signal: AbortSignal; onWait: (reason: string) => void },
): () => Promise<SqlSession> {
  const { host, identity } = resolveWorkspace(destination);
  const { hostname, port } = new URL(host);
  const tokens = tokenSource(identity, { host, connections: new HttpConnections(host, 1), idleMsMax: tokenIdleMs });
  const path = destination.httpPath ?? `/sql/1.0/warehouses/${destination.warehouseId}`;
  return () =>
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
    );
}
