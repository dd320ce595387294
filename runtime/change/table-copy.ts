import type { Client } from "pg";
import { SluiceError } from "../errors";
import { copyOut } from "../postgres/copy-out";
import { MalformedBytes } from "../postgres/message-bytes";
import { toSourceError } from "../postgres/source-error";
import { type CopySource, copyStatement } from "./copy-statement";
import type { SealedRows } from "./sealed-rows";
import { TableSpool } from "./spool";
import type { TableSchema } from "./table-schema";
import { requireRowSize } from "./unrepresentable-value";

export interface TableCopyOptions {
  /** rows and bytes after which rows are handed over */
  rowsMax: number;
  bytesMax: number;
  /** a larger row ends the copy */
  rowBytesMax: number;
  signal: AbortSignal;
  /** Takes rows; meanwhile the copy goes on, until the next rows are ready. `free`: their buffers are used again. */
  onRows(sealed: SealedRows): Promise<"free" | "kept">;
}

/** `PGCOPY\n\377\r\n\0` */
const signature = Buffer.from("PGCOPY\n\u00ff\r\n\0", "latin1");
/** signature, flags, length of the header's extension */
const headerBytes = signature.length + 4 + 4;

function endOfHeader(buffer: Buffer, start: number, end: number): number {
  if (
    end - start < headerBytes ||
    buffer.compare(signature, 0, signature.length, start, start + signature.length) !== 0
  ) {
    throw new MalformedBytes(start, "not the header of COPY BINARY");
  }
  const extension = buffer.readInt32BE(start + headerBytes - 4);
  if (extension < 0 || extension > end - start - headerBytes) {
    throw new MalformedBytes(start + headerBytes - 4, `a header extension of ${extension} bytes`);
  }
  return start + headerBytes + extension;
}

/** The tuple count -1 stands for the end. */
function isTrailer(buffer: Buffer, at: number, end: number): boolean {
  return end - at === 2 && buffer.readInt16BE(at) === -1;
}

function malformed(schema: TableSchema, error: MalformedBytes, rows: number, start: number): SluiceError {
  return new SluiceError(
    "protocol",
    `copy of ${schema.schema}.${schema.name}: malformed CopyData message after ${rows} rows: ${error.message} (at byte ${error.at - start})`,
    { remedy: "The copy is tried again. If it fails again, report it with the server's version.", cause: error },
  );
}

/**
 * Copies a table or a range of it in the client's transaction, by COPY BINARY, into sealed rows (PostgreSQL
 * documentation, COPY, "Binary Format"). At most two lots of rows are in memory: the one that is filled and the one that is written.
 * @throws SluiceError by SQLSTATE
 */
export async function copyTable(
  client: Client,
  schema: TableSchema,
  source: CopySource,
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
      (buffers) => {
        if (buffers === "free") spool.recycle(sealed);
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

  const take = (buffer: Buffer, start: number, end: number): boolean => {
    if (failure !== null) throw failure.error;
    let at = start;
    if (!headerSeen) {
      headerSeen = true;
      at = endOfHeader(buffer, start, end);
    }
    if (at === end || isTrailer(buffer, at, end)) return true;
    requireRowSize(schema, end - at, options.rowBytesMax);
    spool.appendCopyRow(buffer, at, end);
    rows++;
    bytes += end - at;
    return full() ? handOver() : true;
  };
  const copy = copyOut(client, copyStatement(schema, source), {
    signal: options.signal,
    onData: (buffer, start, end) => {
      try {
        return take(buffer, start, end);
      } catch (error) {
        throw error instanceof MalformedBytes ? malformed(schema, error, rows, start) : error;
      }
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
