import type { Client } from "pg";
import type { SealedRows } from "../change/sealed-rows";
import { copyTable } from "../change/table-copy";
import type { TableSchema } from "../change/table-schema";
import { failpoint } from "../failpoint";
import type { StagedFile } from "../staging/staged-commit";
import type { CapturedTable, SnapshotProgress } from "./captured-table";
import { type CopyRange, isCopied, rangeBlocks } from "./copy-ranges";
import { RangeFiles } from "./range-files";
import type { SnapshotContext } from "./snapshot-context";

/** Rows that are gathered before they go to the file: whole data chunks. */
const lotRowsMax = 20_480;
const lotBytesMax = 4 * 1024 * 1024;

/** An open snapshot of a table, of which ranges are copied. */
export interface CopiedSnapshot {
  table: CapturedTable;
  schema: TableSchema;
  rowFilter: string | null;
  progress: SnapshotProgress;
}

/**
 * Copies one range in the client's transaction, which sees the snapshot.
 * @throws SluiceError `conflict` when the snapshot isn't the table's any more
 */
export async function copyRange(
  client: Client,
  snapshot: CopiedSnapshot,
  range: CopyRange,
  { context, signal }: { context: SnapshotContext; signal: AbortSignal },
): Promise<void> {
  const { table, schema, rowFilter, progress } = snapshot;
  const copied: SealedRows[] = [];
  const source = { relation: range.part, rowFilter, blocks: rangeBlocks(range) };
  const output = new RangeFiles(context.stager);
  let files: StagedFile[];
  try {
    await copyTable(client, schema, source, {
      rowsMax: lotRowsMax,
      bytesMax: lotBytesMax,
      rowBytesMax: context.config.batch.rowBytesMax,
      signal,
      onRows: async (sealed) => {
        table.requireSnapshot(progress);
        await output.take(sealed);
        copied.push({ ...sealed, columns: [] });
        return "free";
      },
    });
    files = await output.finish();
  } finally {
    await output.close();
  }
  failpoint("gateway.after-range-files");
  table.requireSnapshot(progress);
  for (const sealed of copied) table.count(sealed);
  rangeDone(snapshot, range, files, context);
  failpoint("gateway.after-range-done");
}

/** All of a range's files in one event, with the mark that it is done: both are in the same record. */
function rangeDone(
  { table, schema, progress }: CopiedSnapshot,
  range: CopyRange,
  files: StagedFile[],
  { capture }: SnapshotContext,
): void {
  range.part.done.add(range.index);
  for (const file of files) {
    progress.rows += file.rows;
    progress.bytes += file.bytes;
  }
  if (isCopied(progress.parts)) progress.copiedAtMs = Date.now();
  if (files.length === 0) return;
  capture.pushSnapshotEvent(table, {
    kind: "snapshot-rows",
    tableId: table.tableId,
    schemaId: schema.schemaId,
    snapshotId: progress.snapshotId,
    files,
  });
}
