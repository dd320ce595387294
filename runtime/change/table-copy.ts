import type { Client } from "pg";
import { SluiceError } from "../errors";
import { copyOut } from "../postgres/copy-out";
import { quoteIdentifier, quoteTable } from "../postgres/identifier";
import { toSourceError } from "../postgres/source-error";
import { type SealedRows, TableSpool } from "./spool";
import type { TableSchema } from "./table-schema";
import { typeOfColumn } from "./types";

export interface TableCopyOptions {
  /** rows and bytes after which rows are handed over */
  rowsMax: number;
  bytesMax: number;
  signal: AbortSignal;
  /** Takes rows; meanwhile the copy goes on, until the next rows are ready. */
  onRows(sealed: SealedRows): Promise<void>;
}

/** The statement that copies the schema's columns, in binary where the type has a reader, else as text. */
export function copyStatement(schema: TableSchema): string {
  const columns = schema.columns.map((column) => {
    const name = quoteIdentifier(column.name);
    // The type's output function, whatever casts there are: the same text as in the stream.
    return typeOfColumn(column).readBinary === null
      ? `CASE WHEN ${name} IS NOT NULL THEN pg_catalog.format('%s', ${name}) END`
      : name;
  });
  const table = quoteTable(schema);
  const plain = schema.columns.every((column) => typeOfColumn(column).readBinary !== null);
  const source = plain ? `${table} (${columns.join(", ")})` : `(SELECT ${columns.join(", ")} FROM ONLY ${table})`;
  return `COPY ${source} TO STDOUT (FORMAT binary)`;
}

/** `PGCOPY\n\377\r\n\0`, flags, length of the header's extension. */
const headerBytes = 11 + 4 + 4;

/**
 * Copies a table in the client's transaction, by COPY BINARY, into sealed rows (PostgreSQL documentation, COPY,
 * "Binary Format"). At most two lots of rows are in memory: the one that is filled and the one that is written.
 * @throws SluiceError by SQLSTATE
 */
export async function copyTable(
  client: Client,
  schema: TableSchema,
  options: TableCopyOptions,
): Promise<{ rows: number; bytes: number }> {
  const spool = new TableSpool(schema, "snapshot");
  let rows = 0;
  let bytes = 0;
  let headerSeen = false;
  let writing: Promise<void> | null = null;
  let failure: { error: unknown } | null = null;

  const hand = (sealed: SealedRows): void => {
    writing = options.onRows(sealed).then(
      () => {
        writing = null;
        copy.resume();
      },
      (error: unknown) => {
        failure = { error };
        writing = null;
        copy.resume();
      },
    );
  };
  const handOver = (): boolean => {
    if (writing !== null) return false;
    const sealed = spool.seal();
    if (sealed !== null) hand(sealed);
    return true;
  };
  const full = () => spool.rows >= options.rowsMax || spool.bytes >= options.bytesMax;

  const copy = copyOut(client, copyStatement(schema), {
    signal: options.signal,
    onData: (buffer, start, end) => {
      if (failure !== null) throw failure.error;
      let at = start;
      if (!headerSeen) {
        headerSeen = true;
        at += headerBytes + buffer.readInt32BE(start + 15);
      }
      if (at === end || buffer.readInt16BE(at) === -1) return true;
      if (spool.appendCopyRow(buffer, at) !== end) {
        throw new SluiceError("internal", `${schema.schema}.${schema.name}: a copied row doesn't end where it should`);
      }
      rows++;
      bytes += end - at;
      return full() ? handOver() : true;
    },
  });
  try {
    await copy.done;
  } catch (error) {
    await writing;
    options.signal.throwIfAborted();
    throw error instanceof SluiceError ? error : toSourceError(error, `copy of ${schema.schema}.${schema.name}`);
  }
  for (;;) {
    await writing;
    if (failure !== null) throw (failure as { error: unknown }).error;
    const sealed = spool.seal();
    if (sealed === null) return { rows, bytes };
    hand(sealed);
  }
}
