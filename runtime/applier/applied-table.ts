import type { SluiceError } from "../errors";
import type { ApplierTableStatus } from "../status";
import type { Place } from "./table-home";
import type { RunTable } from "./table-runs";
import type { KnownTable, SharedContext } from "./table-state";

/** One table on its way from staging to a destination of any kind: its position, its plan, its last failure. */
export interface AppliedTable {
  readonly tableId: string;
  /** Has all that is staged up to here, as far as that can be applied yet. */
  readonly doneSequence: number;
  readonly error: SluiceError | null;
  /** Still in the publication. */
  readonly isPresent: boolean;
  /** Where its rows are, or will be. */
  readonly place: Place;
  isDue(nowMs: number): boolean;
  /** A new snapshot of it is staged: it may heal. */
  snapshotStaged(): void;
  /** A failed table is due now. */
  retry(): void;
  /** How long until something can be done towards `goal`, 0 for at once; null when that is reached or hopeless. */
  waitMs(goal: number, nowMs: number): number | null;
  /**
   * Reads on in the log and applies what it finds. Never throws: a failure is kept, told in the status, and retried or
   * quarantined.
   */
  advance(nowMs: number): Promise<void>;
  runTable(): RunTable;
  /** One run between batches. @returns bytes of files written anew; null when nothing was to be done */
  maintain(bytesMax: number, mayVacuum: boolean): Promise<number | null>;
  progress(): KnownTable;
  status(): ApplierTableStatus;
}

/** Tables of one kind of destination. */
export interface TableKind {
  /** tables that may be applied at a time */
  parallelMax: number;
  make(tableId: string, known: KnownTable, shared: SharedContext): AppliedTable;
}
