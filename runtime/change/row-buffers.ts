import { ColumnBuffer } from "./column-buffer";
import type { ColumnType } from "./column-type";
import { metaColumns, type SealedRows } from "./sealed-rows";
import type { TableSchema } from "./table-schema";
import { typeOfColumn } from "./types";

const firstCapacity = 1024;
const spareHeapBytesMax = 16 * 1024 * 1024;

/** Buffers for a table's rows, one for each column; they grow with the rows. */
export class RowBuffers {
  rows = 0;
  protected readonly types: readonly ColumnType[];
  protected readonly isKey: readonly boolean[];
  /** of a change's own columns, `metaColumns` */
  protected meta: ColumnBuffer[] = [];
  protected columns: ColumnBuffer[] = [];
  private readonly unrepresentableIs: ("null" | "refused")[];
  private capacity = 0;
  private spare: { capacity: number; columns: ColumnBuffer[] } | null = null;

  constructor(
    readonly schema: TableSchema,
    readonly kind: "changes" | "snapshot",
  ) {
    this.types = schema.columns.map(typeOfColumn);
    this.isKey = schema.columns.map((column) => column.keyOrdinal !== null);
    this.unrepresentableIs = schema.columns.map((column) =>
      column.unrepresentable === "stop" || column.keyOrdinal !== null ? "refused" : "null",
    );
  }

  /** Takes back the buffers of copied rows that nobody reads any more: the next rows go into them. */
  recycle({ columns }: SealedRows): void {
    const buffers = columns.map(({ buffer }) => buffer);
    if (buffers.length === 0 || this.kind !== "snapshot") return;
    // Large values would keep their room for ever.
    if (buffers.some(({ heap, elements }) => heap.length + (elements?.memoryBytes ?? 0) > spareHeapBytesMax)) return;
    for (const buffer of buffers) buffer.reset();
    this.spare = { capacity: buffers[0].validity.length * 8, columns: buffers };
  }

  /** Room for one more row. */
  protected beginRow(): void {
    if (this.rows < this.capacity) return;
    if (this.capacity === 0 && this.spare !== null) {
      this.capacity = this.spare.capacity;
      this.columns = this.spare.columns;
      this.spare = null;
      return;
    }
    if (this.capacity === 0) {
      this.capacity = firstCapacity;
      this.columns = this.types.map(({ storage, element }, index) => {
        const list = element === undefined ? null : { element: element.storage, boundsMatter: this.isKey[index] };
        return new ColumnBuffer(storage, firstCapacity, this.unrepresentableIs[index], list);
      });
      this.meta =
        this.kind === "changes" ? metaColumns.map((column) => new ColumnBuffer(column.storage, firstCapacity)) : [];
      return;
    }
    this.capacity *= 2;
    for (const column of this.columns) column.grow(this.capacity);
    for (const column of this.meta) column.grow(this.capacity);
  }

  /** What a row that was refused in its middle has left goes too: it would stand before the next row's values. */
  protected clear(): void {
    this.rows = this.capacity = 0;
    this.meta = [];
    this.columns = [];
  }
}
