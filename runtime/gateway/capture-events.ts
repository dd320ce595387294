import type { SluiceError } from "../errors";
import type { Lsn } from "../postgres/lsn";
import type { Relation } from "../postgres/pgoutput-handler";
import type { CapturedTable } from "./captured-table";

/** The transaction in which a relation is described. */
export interface DescribedIn {
  xid: number;
  /** null: not committed yet, so the catalog doesn't show what it has changed itself */
  commitLsn: Lsn | null;
}

export interface CaptureEvents {
  /** The batch or a file can't be staged: nothing more is to be read. */
  onFailed(error: unknown): void;
  /** A table went back to pending: it needs a snapshot. */
  onPending(table: CapturedTable): void;
  /** A value stopped a table (`unrepresentable`); it has failed. */
  onStopped(table: CapturedTable, error: SluiceError): void;
  /** A captured table is described by the stream: it may have changed. What follows waits until that is decided. */
  onRelation(table: CapturedTable, relation: Relation, described: DescribedIn): void;
  /** A logical message in a transaction; `takes` tells whether changes of a table are captured here. */
  onMessage(prefix: string, content: Buffer, takes: (table: CapturedTable) => boolean): void;
  onStaged(): void;
}
