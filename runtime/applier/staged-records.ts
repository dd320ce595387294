import { SluiceError } from "../errors";
import type { ObjectStore } from "../staging/object-store";
import type { StagedCommit, StagedEvent } from "../staging/staged-commit";
import { readCommit, readHead, readTail } from "../staging/staging-log";

/** A staged commit with its events sorted by table. */
export interface StagedRecord {
  sequence: number;
  startLsn: string;
  endLsn: string;
  stagedAt: string;
  events: Map<string, StagedEvent[]>;
  tables: StagedCommit["tables"];
}

const cachedMax = 1_000;

/** The staging log as the applier reads it: immutable records, the newest read ones kept. */
export class StagedRecords {
  head = 0;
  private readonly cache = new Map<number, StagedRecord>();

  constructor(readonly store: ObjectStore) {}

  /** @throws SluiceError `staging` when the log has become shorter */
  async refreshHead(): Promise<void> {
    const head = await readHead(this.store, this.head);
    if (head < this.head) {
      throw new SluiceError("staging", `staging: the log in ${this.store.location} has become shorter`, {
        remedy: `Put back the records ${head + 1} to ${this.head} of its folder log. If they are lost, replace the Gateway, which copies every table again: pulumi up --replace <its URN>.`,
      });
    }
    this.head = head;
  }

  /** The oldest record that isn't purged; 1 when there is none. */
  async tail(): Promise<number> {
    return (await readTail(this.store)) || 1;
  }

  /** Of a record that may be purged: where the next one starts. */
  async endLsn(sequence: number): Promise<string> {
    if (sequence < this.head) return (await this.read(sequence + 1)).startLsn;
    return (await this.read(sequence)).endLsn;
  }

  async read(sequence: number): Promise<StagedRecord> {
    const cached = this.cache.get(sequence);
    if (cached !== undefined) return cached;
    const { startLsn, endLsn, stagedAt, events, tables } = await readCommit(this.store, sequence);
    const sorted = new Map<string, StagedEvent[]>();
    for (const event of events) {
      const known = sorted.get(event.tableId);
      if (known === undefined) sorted.set(event.tableId, [event]);
      else known.push(event);
    }
    const record = { sequence, startLsn, endLsn, stagedAt, events: sorted, tables };
    this.cache.set(sequence, record);
    if (this.cache.size > cachedMax) this.cache.delete(this.cache.keys().next().value as number);
    return record;
  }
}
