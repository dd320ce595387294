import type { TableSpool, TransactionMeta } from "../change/spool";
import { requireRowSize } from "../change/unrepresentable-value";
import { SluiceError } from "../errors";
import type { StagedEvent } from "../staging/staged-commit";

export interface CaptureLimits {
  bytesMax: number;
  rowsMax: number;
  ageMsMax: number;
  rowBytesMax: number;
}

export type TruncateEvent = Extract<StagedEvent, { kind: "truncate" }>;

/** Takes the row messages of transactions into the spools of their targets; no object is made for a row. */
export abstract class RowCapture<Target extends { readonly spool: TableSpool | null }> {
  constructor(protected readonly limits: CaptureLimits) {}

  /** of the transaction that the messages are of */
  protected abstract readonly meta: TransactionMeta;

  /** What takes the change; null when it is dropped. */
  protected abstract target(relationId: number): Target | null;

  /** A change that counts for so many bytes is in the target's spool. */
  protected abstract spooled(bytes: number): void;

  /** The event stands behind all that the target has so far. */
  protected abstract truncated(target: Target, event: TruncateEvent): void;

  /** The change has a value that must not be lost. */
  protected abstract refused(target: Target, error: SluiceError): void;

  insert(relationId: number, buffer: Buffer, newTuple: number, end: number): void {
    const target = this.target(relationId);
    const spool = target?.spool;
    if (target == null || spool == null) return;
    let bytes: number;
    try {
      requireRowSize(spool.schema, end - newTuple, this.limits.rowBytesMax);
      bytes = spool.appendInsert(buffer, newTuple, end, this.meta);
    } catch (error) {
      this.refused(target, unrepresentable(error));
      return;
    }
    this.spooled(bytes);
  }

  update(
    relationId: number,
    buffer: Buffer,
    oldTuple: number,
    oldKind: "K" | "O" | null,
    newTuple: number,
    end: number,
  ): void {
    const target = this.target(relationId);
    const spool = target?.spool;
    if (target == null || spool == null) return;
    let bytes: number;
    try {
      requireRowSize(spool.schema, end - (oldTuple === -1 ? newTuple : oldTuple), this.limits.rowBytesMax);
      bytes = spool.appendUpdate(buffer, oldTuple, oldKind, newTuple, end, this.meta);
    } catch (error) {
      this.refused(target, unrepresentable(error));
      return;
    }
    this.spooled(bytes);
  }

  delete(relationId: number, buffer: Buffer, oldTuple: number, oldKind: "K" | "O", end: number): void {
    const target = this.target(relationId);
    const spool = target?.spool;
    if (target == null || spool == null) return;
    let bytes: number;
    try {
      requireRowSize(spool.schema, end - oldTuple, this.limits.rowBytesMax);
      bytes = spool.appendDelete(buffer, oldTuple, oldKind, end, this.meta);
    } catch (error) {
      this.refused(target, unrepresentable(error));
      return;
    }
    this.spooled(bytes);
  }

  truncate(relationIds: number[]): void {
    for (const relationId of relationIds) {
      const target = this.target(relationId);
      const spool = target?.spool;
      if (target == null || spool == null) continue;
      const { tableId, schemaId } = spool.schema;
      this.truncated(target, { kind: "truncate", tableId, schemaId });
    }
  }
}

/** All else is no fault of a value, and is thrown. */
function unrepresentable(error: unknown): SluiceError {
  if (!(error instanceof SluiceError) || error.kind !== "unrepresentable") throw error;
  return error;
}
