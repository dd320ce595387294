// Contract: an LSN has one text form, that of PostgreSQL's pg_lsn.
import { describe, expect, it } from "vitest";
import { formatLsn, type Lsn, parseLsn } from "../../../runtime/postgres/lsn";
import fc from "../../support/property";

describe("LSN", () => {
  it("survives text for every 64-bit value", () => {
    fc.assert(fc.property(fc.bigInt(0n, (1n << 64n) - 1n), (value) => parseLsn(formatLsn(value as Lsn)) === value));
  });
  it("is written as PostgreSQL writes it", () => {
    expect(formatLsn(0x16b374d848n as Lsn)).toBe("16/B374D848");
    expect(formatLsn(0x100000000n as Lsn)).toBe("1/0");
  });
  it.each(["", "1", "1/", "/1", "1/2/3", "g/1", "123456789/0", "0x1/2"])("refuses %j", (text) => {
    expect(() => parseLsn(text)).toThrow();
  });
});
