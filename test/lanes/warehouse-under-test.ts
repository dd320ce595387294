import { openSqlSession, type SqlSession } from "../../runtime/destination/databricks/sql-session";
import type { WarehouseFront } from "../support/warehouse-front";

/** What the front wants to see. */
export const token = "a token of the lane";

/** `settings`: statements before all others */
export function openSession(front: WarehouseFront, settings: readonly string[] = []): Promise<SqlSession> {
  return openSqlSession(
    { host: "localhost", port: front.port, path: "/sql/1.0/warehouses/spark", caCert: front.caCert },
    {
      tokens: { token: async () => token, refuse: () => {} },
      statementTimeoutMs: 300_000,
      startTimeoutMs: 10_000,
      settings: ["SET TIME ZONE 'UTC'", ...settings],
      signal: new AbortController().signal,
    },
  );
}
