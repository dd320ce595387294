const units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];

/** A number of bytes for people: `0 B`, `1.5 KiB`, `340 MiB`. */
export function bytesText(bytes: number): string {
  let unit = 0;
  let amount = bytes;
  for (; amount >= 1024 && unit < units.length - 1; unit++) amount /= 1024;
  return `${unit === 0 || amount >= 100 ? Math.round(amount) : amount.toFixed(1)} ${units[unit]}`;
}
