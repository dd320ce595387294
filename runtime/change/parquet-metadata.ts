import { version } from "../version";
import type { Bounds } from "./parquet-bounds";
import { leafTypeOf, type ParquetColumn, pathOf, schemaElements } from "./parquet-schema";
import { ThriftCompact, thriftType } from "./thrift-compact";

const plain = 0;
const rle = 3;
const dataPage = 0;

/** One column of one row group, as the footer describes it. */
export interface ChunkDescription {
  /** place of its first page in the file */
  offset: number;
  /** with page headers */
  bytes: number;
  plainBytes: number;
  entries: number;
  values: number;
  bounds: Bounds | null;
}

export interface RowGroupDescription {
  rows: number;
  chunks: ChunkDescription[];
}

/** `PageHeader` of a data page, whose levels are in the page. */
export function pageHeader(entries: number, plainBytes: number, bytes: number): Buffer {
  const thrift = new ThriftCompact().fields((header) =>
    header
      .i32(1, dataPage)
      .i32(2, plainBytes)
      .i32(3, bytes)
      .struct(5, (page) => page.i32(1, entries).i32(2, plain).i32(3, rle).i32(4, rle)),
  );
  return thrift.bytes();
}

/** `FileMetaData`, its length and the magic number: the end of a file. */
export function footer(
  columns: readonly ParquetColumn[],
  codec: number,
  groups: readonly RowGroupDescription[],
): Buffer {
  const rows = groups.reduce((sum, group) => sum + group.rows, 0);
  const thrift = new ThriftCompact().fields((file) =>
    file
      .i32(1, 1)
      .list(2, thriftType.struct, schemaElements(columns), (list, element) => list.fields(element))
      .i64(3, rows)
      .list(4, thriftType.struct, groups, (list, group) => list.fields(rowGroup(columns, codec, group)))
      .binary(6, `sluice version ${version} (build release)`)
      // Without them no reader may trust the bounds.
      .list(7, thriftType.struct, columns, (list) => list.fields((order) => order.struct(1, () => {}))),
  );
  const bytes = thrift.bytes();
  const end = Buffer.alloc(8);
  end.writeUInt32LE(bytes.length);
  end.write("PAR1", 4, "latin1");
  return Buffer.concat([bytes, end]);
}

function rowGroup(columns: readonly ParquetColumn[], codec: number, { rows, chunks }: RowGroupDescription) {
  const sum = (of: (chunk: ChunkDescription) => number) => chunks.reduce((total, chunk) => total + of(chunk), 0);
  return (thrift: ThriftCompact) =>
    thrift
      .list(1, thriftType.struct, [...chunks.entries()], (list, [index, chunk]) =>
        list.fields((column) => column.i64(2, 0).struct(3, columnMetadata(columns[index], codec, chunk))),
      )
      .i64(
        2,
        sum((chunk) => chunk.plainBytes),
      )
      .i64(3, rows)
      .i64(5, chunks[0].offset)
      .i64(
        6,
        sum((chunk) => chunk.bytes),
      );
}

function columnMetadata(column: ParquetColumn, codec: number, chunk: ChunkDescription) {
  const { offset, bytes, plainBytes, entries, values, bounds } = chunk;
  return (thrift: ThriftCompact) =>
    thrift
      .i32(1, leafTypeOf(column.type).physicalType)
      .list(2, thriftType.i32, [plain, rle], (list, encoding) => list.zigzag(encoding))
      .list(3, thriftType.binary, pathOf(column), (list, name) => list.blob(name))
      .i32(4, codec)
      .i64(5, entries)
      .i64(6, plainBytes)
      .i64(7, bytes)
      .i64(9, offset)
      .struct(12, (statistics) => {
        statistics.i64(3, entries - values);
        if (bounds === null) return;
        const { min, max, isExact } = bounds;
        statistics.binary(5, max).binary(6, min).boolean(7, isExact).boolean(8, isExact);
      });
}
