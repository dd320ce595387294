import { appendFileSync, renameSync, rmSync, statSync } from "node:fs";

export interface RotatingLogOptions {
  /** size at which the file is moved to `<path>.1`; default 10 MB */
  bytesMax?: number;
  /** files kept in all, the current one included; default 3 */
  filesMax?: number;
}

/** Appends to a file that never grows beyond its limit by more than one write. */
export class RotatingLog {
  private readonly bytesMax: number;
  private readonly filesMax: number;
  private bytes: number;

  constructor(
    readonly path: string,
    options: RotatingLogOptions = {},
  ) {
    this.bytesMax = options.bytesMax ?? 10_000_000;
    this.filesMax = options.filesMax ?? 3;
    this.bytes = statSync(path, { throwIfNoEntry: false })?.size ?? 0;
  }

  write(chunk: Buffer | string): void {
    if (this.bytes > 0 && this.bytes + chunk.length > this.bytesMax) this.rotate();
    try {
      appendFileSync(this.path, chunk);
      this.bytes += chunk.length;
    } catch {
      // A full disk must not end what is logged.
    }
  }

  private rotate(): void {
    const nameOf = (index: number) => (index === 0 ? this.path : `${this.path}.${index}`);
    try {
      rmSync(nameOf(this.filesMax - 1), { force: true });
      for (let index = this.filesMax - 2; index >= 0; index--) {
        if (statSync(nameOf(index), { throwIfNoEntry: false }) !== undefined) {
          renameSync(nameOf(index), nameOf(index + 1));
        }
      }
      this.bytes = 0;
    } catch {
      // Kept as it is: the next write tries again.
    }
  }
}
