/** A position in PostgreSQL's write-ahead log, as a 64-bit number. Text (`16/B374D848`) only at boundaries. */
export type Lsn = bigint & { readonly __lsn: unique symbol };

export const lsnZero = 0n as Lsn;

/** @throws Error when the text isn't two hexadecimal numbers of at most 8 digits, split by a slash. */
export function parseLsn(text: string): Lsn {
  const match = /^([0-9A-Fa-f]{1,8})\/([0-9A-Fa-f]{1,8})$/.exec(text);
  if (match === null) throw new Error(`not an LSN: ${JSON.stringify(text)}`);
  return ((BigInt(`0x${match[1]}`) << 32n) | BigInt(`0x${match[2]}`)) as Lsn;
}

export function formatLsn(lsn: Lsn): string {
  return `${(lsn >> 32n).toString(16).toUpperCase()}/${(lsn & 0xffffffffn).toString(16).toUpperCase()}`;
}

export function maxLsn(a: Lsn, b: Lsn): Lsn {
  return a > b ? a : b;
}
