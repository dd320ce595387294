import { Agent } from "node:http";
import { connect, type Socket } from "node:net";
import { connect as connectTls } from "node:tls";
import { SluiceError } from "../../runtime/errors";
import type { EngineAddress } from "./engine-address";

/** How long an engine on another machine may take to answer a connection. */
export const connectTimeoutMs = 20_000;

type Connected = (error: Error | null, stream?: Socket) => void;

/** Connections to an engine over the network: verified by TLS, with a deadline, and ended when the other machine is gone. */
export function tcpAgent({ host, port, tls }: Extract<EngineAddress, { kind: "tcp" }>): Agent {
  const agent = new Agent();
  agent.createConnection = ((_options: unknown, connected: Connected) => {
    const socket =
      tls === null
        ? connect({ host, port })
        : // The name in the server's certificate is checked by Node.
          connectTls({
            host,
            port,
            minVersion: "TLSv1.2",
            ...tls,
            ...(/[a-z]/i.test(host) && !host.includes(":") ? { servername: host } : {}),
          });
    endLate(socket, host, port, tls === null ? "connect" : "secureConnect", connected);
  }) as unknown as Agent["createConnection"];
  return agent;
}

/** Calls back once: with the socket, or with the error; and keeps watch on a connection that is silent for long. */
export function endLate(
  socket: Socket,
  host: string,
  port: number,
  event: "connect" | "secureConnect",
  connected: Connected,
): void {
  const late = new SluiceError("unreachable", `${host}:${port} does not answer within ${connectTimeoutMs} ms`, {
    remedy: "Look whether the address is right, and a firewall lets this machine in.",
  });
  const timer = setTimeout(() => socket.destroy(late), connectTimeoutMs);
  socket.setKeepAlive(true, 15_000);
  socket.once("error", (error) => {
    clearTimeout(timer);
    connected(error);
  });
  socket.once(event, () => {
    clearTimeout(timer);
    connected(null, socket);
  });
}
