import { connect, createServer, type Server, type Socket } from "node:net";

/** A loopback port that leads to another, until a test cuts or stalls the way. */
export interface TcpProxy {
  port: number;
  /** Ends every connection, and refuses new ones until `restore`. */
  cut(): void;
  /** Connections stay, but nothing passes until `restore`: neither side is told. */
  stall(): void;
  restore(): void;
  close(): Promise<void>;
}

export async function startTcpProxy(target: { host: string; port: number }): Promise<TcpProxy> {
  const pairs = new Set<[Socket, Socket]>();
  let state: "open" | "cut" | "stalled" = "open";
  const server: Server = createServer((near) => {
    if (state === "cut") {
      near.destroy();
      return;
    }
    const far = connect(target.port, target.host);
    const pair: [Socket, Socket] = [near, far];
    pairs.add(pair);
    for (const [from, to] of [pair, [far, near] as const]) {
      from.on("data", (chunk) => {
        if (!to.write(chunk)) from.pause();
      });
      to.on("drain", () => {
        if (state === "open") from.resume();
      });
      from.on("end", () => to.end());
      from.on("error", () => to.destroy());
      from.on("close", () => {
        to.destroy();
        pairs.delete(pair);
      });
    }
    if (state === "stalled") for (const socket of pair) socket.pause();
  });
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(0, "127.0.0.1", resolve);
  });
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("the proxy has no port");
  const sockets = () => [...pairs].flat();
  return {
    port: address.port,
    cut: () => {
      state = "cut";
      for (const socket of sockets()) socket.destroy();
    },
    stall: () => {
      state = "stalled";
      for (const socket of sockets()) socket.pause();
    },
    restore: () => {
      state = "open";
      for (const socket of sockets()) socket.resume();
    },
    close: () => {
      for (const socket of sockets()) socket.destroy();
      return new Promise((resolve) => server.close(() => resolve()));
    },
  };
}
