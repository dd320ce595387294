import type { ColumnBuffer } from "./column-buffer";
import type { ColumnType } from "./column-type";
import { malformed } from "./text-form";

/**
 * A count of the smallest units of a currency, which lc_monetary tells: 100 for a cent, 1 for a yen. Its text form is that
 * of lc_monetary C, `-$1,234.56`, two digits after the point; its binary form is the count, int64.
 */
export function moneyType(digits: number): ColumnType {
  const set = (column: ColumnBuffer, row: number, units: bigint) => {
    const text = String(units < 0n ? -units : units).padStart(digits + 1, "0");
    const point = text.length - digits;
    // From its decimal text: so it is rounded once.
    const value = Number(`${text.slice(0, point)}.${text.slice(point)}`);
    column.f64[row] = units < 0n ? -value : value;
    column.markPresent(row);
  };
  return {
    deltaType: "double",
    storage: "f64",
    holdsAll: true,
    readText: (column, row, source, start, end) => {
      const text = source.toString("latin1", start, end);
      if (!/^-?\$[\d,]+\.\d\d$/.test(text)) throw malformed(start, "money");
      set(column, row, BigInt(text.replace(/[$,.]/g, "")));
    },
    readBinary: (column, row, source, start) => set(column, row, source.readBigInt64BE(start)),
    binaryBytes: 8,
  };
}
