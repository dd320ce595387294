export interface WaitOptions {
  signal: AbortSignal;
  /** Told what is waited for, and `undefined` when nothing is. */
  onWait(waitingFor: string | undefined): void;
  /** How long to wait at most; a table that is waited for must not hold up the others. */
  waitMsMax: number;
}

/** Waited in vain; the caller tries again later. Not a failure. */
export class Blocked extends Error {
  constructor(readonly waitingFor: string) {
    super(waitingFor);
  }
}
