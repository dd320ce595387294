import { Socket } from "node:net";

/** What one read takes from the system at most. */
const readBytes = 256 * 1024;

/**
 * A socket that reads into memory of its own, used again for each read: else each would take 64 KiB, for a server that
 * sends 8 KiB at a time.
 */
export class SourceSocket extends Socket {
  /** Listeners to `data` get that memory itself, valid during the call only; default false: each a copy. */
  sharesMemory = false;

  constructor() {
    const onread = {
      buffer: Buffer.allocUnsafeSlow(readBytes),
      callback: (bytes: number, buffer: Uint8Array): boolean => this.deliver(bytes, buffer as Buffer),
    };
    // Documented of net.connect, which makes a Socket of the same options.
    super({ onread } as ConstructorParameters<typeof Socket>[0]);
  }

  private deliver(bytes: number, buffer: Buffer): boolean {
    const shared = buffer.subarray(0, bytes);
    this.emit("data", this.sharesMemory ? shared : Buffer.from(shared));
    return true;
  }
}

type Listener = (chunk: Buffer) => void;

/** Takes what a socket brings, in the place of those that listened. */
export class SocketDiversion {
  readonly listeners: Listener[];

  /** @param read gets each chunk, whose bytes are valid during the call only */
  constructor(
    private readonly socket: Socket,
    private readonly read: Listener,
  ) {
    this.listeners = socket.listeners("data") as Listener[];
    // Its own first: without any listener the socket would stop.
    socket.on("data", read);
    for (const listener of this.listeners) socket.off("data", listener);
    if (socket instanceof SourceSocket) socket.sharesMemory = true;
  }

  /** Hands bytes that are kept to those that listened. */
  pass(bytes: Buffer): void {
    for (const listener of this.listeners) listener.call(this.socket, Buffer.from(bytes));
  }

  /** They listen again. */
  end(): void {
    this.socket.off("data", this.read);
    if (this.socket instanceof SourceSocket) this.socket.sharesMemory = false;
    for (const listener of this.listeners) this.socket.on("data", listener);
  }
}
