/**
 * Stands between the replication stream and the capture. Work that a message gives rise to, and that can't be done at
 * once, closes it: what follows is held (as copies) and given on in order when the work is done. The holder pauses the
 * connection when `heldBytes` grows, so that memory stays bounded (invariant 7).
 */
export class MessageGate {
  heldBytes = 0;
  private held: Buffer[] = [];
  private next = 0;
  private working = 0;
  private abandoned = false;

  constructor(
    /** false: the message is not taken yet, and the gate was closed by it; it is given again */
    private readonly deliver: (buffer: Buffer, start: number, end: number) => boolean,
    private readonly events: {
      onHeld(): void;
      /** nothing is held any more */
      onOpen(): void;
      onFailed(error: unknown): void;
    },
  ) {}

  get isOpen(): boolean {
    return this.working === 0 && this.held.length === 0;
  }

  receive(buffer: Buffer, start: number, end: number): void {
    if (this.isOpen && this.deliver(buffer, start, end)) return;
    this.held.push(Buffer.from(buffer.subarray(start, end)));
    this.heldBytes += end - start;
    this.events.onHeld();
  }

  /** @param work is told whether its stream still goes on: after the loss of the connection it must change nothing */
  close(work: (isCurrent: () => boolean) => Promise<void>): void {
    this.working++;
    work(() => !this.abandoned).then(
      () => {
        this.working--;
        this.release();
      },
      (error: unknown) => {
        if (!this.abandoned) this.events.onFailed(error);
      },
    );
  }

  /** The connection is gone. */
  abandon(): void {
    this.abandoned = true;
    this.held = [];
    this.heldBytes = 0;
  }

  private release(): void {
    if (this.abandoned) return;
    try {
      while (this.working === 0 && this.next < this.held.length) {
        const message = this.held[this.next];
        if (!this.deliver(message, 0, message.length)) break;
        this.next++;
        this.heldBytes -= message.length;
      }
    } catch (error) {
      this.abandon();
      this.events.onFailed(error);
      return;
    }
    if (this.working > 0) return;
    this.held = [];
    this.next = 0;
    this.events.onOpen();
  }
}
