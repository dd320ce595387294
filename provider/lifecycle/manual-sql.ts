import type { SourceConfig } from "../../runtime/config";
import { SluiceError } from "../../runtime/errors";

/** A failed delete says what to run by hand. */
export function withManualSql(error: unknown, sql: string, source: SourceConfig): unknown {
  if (!(error instanceof SluiceError)) return error;
  const when =
    error.kind === "unreachable" ? `Once ${source.host}:${source.port}/${source.database} is reachable` : "Then";
  const byHand = `${when} run pulumi destroy again; or run by hand: ${sql}; then pulumi state delete.`;
  return new SluiceError(error.kind, error.message, {
    remedy: `${error.remedy} ${byHand}`,
    sqlState: error.sqlState,
    cause: error,
  });
}
