import { type ChangeLocations, countChanges, locateChanges } from "../change/change-counts";
import { ParquetFile } from "../change/parquet-writer";
import type { SealedRows } from "../change/sealed-rows";
import { SluiceError } from "../errors";
import { failpoint } from "../failpoint";
import { formatLsn, type Lsn } from "../postgres/lsn";
import type { ObjectStore } from "../staging/object-store";
import type { StagedCommit, StagedEvent, StagedFile, StagedTransaction } from "../staging/staged-commit";
import { appendCommit } from "../staging/staging-log";
import type { StorageRetry } from "../staging/storage-retry";
import { WorkQueue } from "./work-queue";

/** What a staged commit is made of, in order; files are being written while the batch still grows. */
export type BatchItem = BatchRows | { kind: "event"; event: StagedEvent };

/** Rows of one table in a file; their buffers are given back as soon as it is written. */
export interface BatchRows {
  kind: "rows";
  tableId: string;
  schemaId: number;
  written: Promise<WrittenRows>;
  /** the one that all of the rows belong to, where they don't say so themselves */
  transaction?: StagedTransaction;
}

export interface WrittenRows {
  file: StagedFile;
  locations: ChangeLocations;
  inserts: number;
  updates: number;
  deletes: number;
}

export function tableOf(item: BatchItem): string {
  return item.kind === "rows" ? item.tableId : item.event.tableId;
}

/** Consecutive files of one table, schema and streamed transaction become one event. */
export function buildEvents(
  items: ({ item: BatchRows; written: WrittenRows } | { item: StagedEvent })[],
): StagedEvent[] {
  const events: StagedEvent[] = [];
  const open = new Map<string, { event: Extract<StagedEvent, { kind: "changes" }>; transaction: unknown }>();
  for (const entry of items) {
    if (!("written" in entry)) {
      open.delete(entry.item.tableId);
      events.push(entry.item);
      continue;
    }
    const { tableId, schemaId, transaction } = entry.item;
    const { file, inserts, updates, deletes } = entry.written;
    let changes = open.get(tableId);
    if (changes === undefined || changes.event.schemaId !== schemaId || changes.transaction !== transaction) {
      const event: StagedEvent = {
        kind: "changes",
        tableId,
        schemaId,
        transaction,
        files: [],
        inserts: 0,
        updates: 0,
        deletes: 0,
      };
      changes = { event, transaction };
      open.set(tableId, changes);
      events.push(event);
    }
    changes.event.inserts += inserts;
    changes.event.updates += updates;
    changes.event.deletes += deletes;
    changes.event.files.push(file);
  }
  return events;
}

/** What a file is made of. */
export interface FileContent {
  rows: number;
  /** Creates the file; may be called again after a failure. */
  write(path: string): Promise<void>;
}

/**
 * Writes staged commits one after the other: files first, then the record by put-if-absent (invariant 2). `stagedLsn`
 * moves only when the record is durable (invariant 1).
 */
export class Stager {
  /** memory of rows that are sealed but not yet in a file */
  bytesInFlight = 0;
  /** of files of changes that no record names yet */
  uncommittedBytes = 0;
  sequence: number;
  /** of the newest commit that was queued, durable or not */
  queuedSequence: number;
  stagedLsn: Lsn;
  private files = 0;
  private readonly writing: WorkQueue;
  private committing: Promise<void> = Promise.resolve();
  private commitsInFlight = 0;
  private broken: { error: unknown } | null = null;

  constructor(
    private readonly store: ObjectStore,
    private readonly retry: StorageRetry,
    private readonly epoch: string,
    head: { sequence: number; endLsn: Lsn },
    private readonly onDrained: () => void,
  ) {
    this.writing = new WorkQueue(store.filesAtOnce);
    this.sequence = head.sequence;
    this.queuedSequence = head.sequence;
    this.stagedLsn = head.endLsn;
  }

  get idle(): boolean {
    return this.commitsInFlight === 0 && this.bytesInFlight === 0 && this.broken === null;
  }

  /** Why something waits for the object store; nothing more is to be read meanwhile. */
  get trouble(): string | null {
    return this.retry.trouble;
  }

  /** Starts to write the rows to a file of their own; it counts only once a commit names it. */
  writeRows(sealed: SealedRows): Promise<WrittenRows> {
    const { memoryBytes, inserts, updates, deletes } = sealed;
    this.bytesInFlight += memoryBytes;
    const content = new ParquetFile(sealed.columns);
    const file = this.writing.run(async () => {
      await content.append(sealed);
      return this.writeFile(content);
    });
    const written = file
      .then((file) => {
        this.uncommittedBytes += file.bytes;
        const named: StagedFile = sealed.beforeImages ? { ...file, beforeImages: true } : file;
        return { file: named, locations: locateChanges(content), inserts, updates, deletes };
      })
      .finally(() => {
        this.bytesInFlight -= memoryBytes;
        this.onDrained();
      });
    written.catch(() => {});
    return written;
  }

  /** The same rows without those from `ordinalEnd` on, which stay in the file but aren't read. */
  async cutOff(written: Promise<WrittenRows>, ordinalEnd: number): Promise<WrittenRows> {
    const { file, locations } = await written;
    const path = await this.store.localPath(file.path);
    try {
      const { rows, ...counts } = await countChanges(path, locations, ordinalEnd);
      return { ...counts, locations, file: { ...file, rows, ordinalEnd } };
    } finally {
      this.store.releaseLocal(file.path);
    }
  }

  /** One durable file; tried again, and waited with, while the object store can't take it. */
  writeFile(content: FileContent): Promise<StagedFile> {
    return this.retry.run(async () => {
      const key = `data/${this.epoch}-${String(this.files++).padStart(8, "0")}.parquet`;
      try {
        failpoint("gateway.before-file");
        const path = await this.store.beginFile(key);
        await content.write(path).catch((cause: unknown) => {
          throw new SluiceError(
            "staging",
            `staging: ${key} in ${this.store.location} can't be written: ${reason(cause)}`,
            {
              remedy: "Check free space and permissions of the staging folder.",
              cause,
            },
          );
        });
        const { bytes } = await this.store.commitFile(key);
        failpoint("gateway.after-file");
        return { path: key, rows: content.rows, bytes };
      } catch (error) {
        // Half a file would hold the room that is wanted.
        await this.store.delete(key).catch(() => {});
        throw error;
      }
    });
  }

  /** Queues a commit; resolves when it is durable. */
  commit(items: BatchItem[], endLsn: Lsn, tables: StagedCommit["tables"]): Promise<void> {
    this.commitsInFlight++;
    this.queuedSequence++;
    const done = this.committing.then(async () => {
      // After a commit that failed a later one would stage its position without its rows.
      if (this.broken !== null) throw this.broken.error;
      const written = await Promise.all(
        items.map(async (item) =>
          item.kind === "rows" ? { item, written: await item.written } : { item: item.event },
        ),
      );
      failpoint("gateway.before-record");
      const events = buildEvents(written);
      await appendCommit(this.store, {
        version: versionOf(events),
        sequence: this.sequence + 1,
        epoch: this.epoch,
        startLsn: formatLsn(this.stagedLsn),
        endLsn: formatLsn(endLsn),
        stagedAt: new Date().toISOString(),
        events,
        tables,
      });
      failpoint("gateway.after-record");
      this.sequence++;
      this.stagedLsn = endLsn;
      for (const entry of written) this.uncommittedBytes -= entry.written?.file.bytes ?? 0;
      this.onDrained();
    });
    this.committing = done.catch((error: unknown) => {
      this.broken ??= { error };
    });
    return done.finally(() => {
      this.commitsInFlight--;
    });
  }

  /** Where an empty log begins. Only when drained. */
  restart(lsn: Lsn): void {
    this.stagedLsn = lsn;
  }

  /** Resolves when everything queued is durable or has failed. */
  async drained(): Promise<void> {
    await this.writing.idle();
    await this.committing;
  }

  private discardRows(written: Promise<WrittenRows>): void {
    written
      .then(({ file }) => {
        this.uncommittedBytes -= file.bytes;
        return this.store.delete(file.path);
      })
      .catch(() => {});
  }

  /** A file that no record will name. */
  discardFile(file: StagedFile): void {
    this.store.delete(file.path).catch(() => {});
  }

  /** Files of a batch that was given up. */
  discard(items: BatchItem[]): void {
    for (const item of items) {
      if (item.kind === "rows") this.discardRows(item.written);
      else if (item.event.kind === "schema" && item.event.fill !== undefined) this.discardFile(item.event.fill);
    }
  }
}

/** As low as it can be, so that an applier of an earlier version goes on where it can. */
function versionOf(events: StagedEvent[]): StagedCommit["version"] {
  return events.some((event) => event.kind === "changes" && event.files.some((file) => file.beforeImages)) ? 2 : 1;
}

function reason(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
