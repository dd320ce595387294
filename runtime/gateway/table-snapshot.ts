import type { Client } from "pg";
import { describeForLog } from "../errors";
import { log } from "../operate/log";
import { toSourceError } from "../postgres/source-error";
import type { CapturedTable } from "./captured-table";
import { type CopyRange, rangesLeft } from "./copy-ranges";
import { type CopiedSnapshot, copyRange } from "./range-copy";
import type { SnapshotContext } from "./snapshot-context";
import { exportSnapshot, joinSnapshot } from "./snapshot-session";
import { isPartitioned, SnapshotStart, type StartedSnapshot } from "./snapshot-start";
import { isShareable } from "./snapshot-visibility";

/** What is copied, once the snapshot is open. */
interface Work extends CopiedSnapshot {
  partitioned: boolean;
  /** for others to join; null when there is one range only */
  exportedId: string | null;
}

/**
 * One attempt at the snapshot of one table while the stream goes on, without a slot of its own: its rows are read in a
 * repeatable-read transaction, range after range, and the stream leaves out the transactions that this transaction
 * sees. The leader's session takes the snapshot and lives until all is copied; others may join it.
 */
export class TableSnapshot {
  private work: Work | null = null;
  private queue: CopyRange[] = [];
  private readonly helpers = new Set<Promise<void>>();
  private helpFailed = false;
  private readonly stop = new AbortController();
  private readonly signal: AbortSignal;

  /** @param onWork called once ranges can be copied by others too */
  constructor(
    readonly table: CapturedTable,
    private readonly context: SnapshotContext,
    private readonly onWork: () => void,
  ) {
    this.signal = AbortSignal.any([context.signal, this.stop.signal]);
  }

  /** Ranges that nobody has begun, if another session could take them. */
  get rangesToHelp(): number {
    return this.work?.exportedId == null || this.helpFailed || this.signal.aborted ? 0 : this.queue.length;
  }

  /**
   * Takes the snapshot, or goes on with the one that isn't complete, and copies until nothing is left.
   * @returns false when the table is gone or has left the publication
   * @throws Blocked when others hold it up
   */
  async lead(): Promise<boolean> {
    const client = await this.connect("snapshot");
    const disconnect = this.disconnectOnAbort(client);
    try {
      const started = await new SnapshotStart(this.table, this.context, this.signal).run(client);
      if (started === null) return false;
      this.work = await this.share(client, started);
      this.onWork();
      // What a lost session had begun comes back into the queue.
      do {
        await this.copyRanges(client, this.work);
        await Promise.all(this.helpers);
      } while (this.queue.length > 0);
      await client.query("COMMIT");
      return true;
    } finally {
      this.table.snapshotTaken = false;
      this.stop.abort();
      disconnect();
      await Promise.all(this.helpers);
      await client.end().catch(() => {});
    }
  }

  /** Joins the snapshot from a session of its own and copies until no range is left; a failure is the leader's to make good. */
  help(): Promise<void> {
    const helping = this.helpNow().catch((thrown: unknown) => {
      this.helpFailed = true;
      if (this.signal.aborted) return;
      const error = toSourceError(thrown, "copying beside", this.context.config.source);
      log("warning", "snapshot-helper-lost", { table: this.name, error: describeForLog(error) });
    });
    this.helpers.add(helping);
    return helping.finally(() => this.helpers.delete(helping));
  }

  private async helpNow(): Promise<void> {
    const { work } = this;
    if (work?.exportedId == null) return;
    const client = await this.connect("snapshot helper");
    const disconnect = this.disconnectOnAbort(client);
    try {
      this.signal.throwIfAborted();
      const { schema, partitioned } = work;
      if (!(await joinSnapshot(client, work.exportedId, { ...schema, partitioned }))) {
        this.helpFailed = true;
        return;
      }
      await this.copyRanges(client, work);
      await client.query("COMMIT");
    } finally {
      disconnect();
      await client.end().catch(() => {});
    }
  }

  private connect(purpose: string): Promise<Client> {
    const { config, servers } = this.context;
    return servers.connect({ applicationName: `sluice ${config.id} ${purpose}` });
  }

  private disconnectOnAbort(client: Client): () => void {
    const abort = () => client.connection?.stream.destroy();
    this.signal.addEventListener("abort", abort, { once: true });
    return () => this.signal.removeEventListener("abort", abort);
  }

  private async share(client: Client, { schema, opened, progress }: StartedSnapshot): Promise<Work> {
    this.queue = rangesLeft(progress.parts);
    const isShared = this.queue.length > 1 && isShareable(opened.visibility);
    const exportedId = isShared ? await exportSnapshot(client) : null;
    const { rowFilter } = opened.table;
    return { table: this.table, schema, rowFilter, progress, partitioned: isPartitioned(schema, opened), exportedId };
  }

  private async copyRanges(client: Client, work: Work): Promise<void> {
    const { context, signal } = this;
    for (let range = this.queue.shift(); range !== undefined; range = this.queue.shift()) {
      try {
        await copyRange(client, work, range, { context, signal });
      } catch (error) {
        this.queue.unshift(range);
        throw error;
      }
    }
  }

  private get name(): string {
    return `${this.table.schema}.${this.table.name}`;
  }
}
