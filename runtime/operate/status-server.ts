import { writeFileSync } from "node:fs";
import { mkdir, rename } from "node:fs/promises";
import { createServer, type Server } from "node:http";
import { dirname } from "node:path";
import { SluiceError } from "../errors";
import type { StatusDocument } from "../status";

export interface StatusOptions {
  /** where the document is written, replaced as a whole */
  path: string;
  /** 0 takes any free one */
  httpPort: number;
  /** address that is listened on; default 127.0.0.1 */
  httpHost?: string;
  /** called for each request and publication */
  document: (httpPort: number) => StatusDocument;
  /** Prometheus text */
  metrics: () => string;
  healthy: () => boolean;
  /** how often the document is written by itself; default 1,000 */
  publishMs?: number;
}

export interface StatusServer {
  port: number;
  /** Writes the document now. */
  publish(): Promise<void>;
  /** Writes it once more, if it can be, and closes the port. */
  close(): Promise<void>;
}

/**
 * Serves `/healthz` (200 or 503), `/status` and `/metrics`, also below `/api` (all that the front of Databricks Apps lets a token
 * ask for), and keeps the status file fresh.
 * @throws SluiceError `port-in-use`
 */
export async function startStatus(options: StatusOptions): Promise<StatusServer> {
  let port = options.httpPort;
  const server = createServer((request, response) => {
    switch (request.url?.replace(/^\/api\//, "/")) {
      case "/healthz": {
        const healthy = options.healthy();
        response.writeHead(healthy ? 200 : 503, { "content-type": "text/plain" }).end(healthy ? "ok\n" : "not ready\n");
        return;
      }
      case "/status":
        response.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify(options.document(port)));
        return;
      case "/metrics":
        response.writeHead(200, { "content-type": "text/plain; version=0.0.4" }).end(options.metrics());
        return;
      default:
        response.writeHead(404).end();
    }
  });
  port = await listen(server, options.httpHost ?? "127.0.0.1", options.httpPort);
  await mkdir(dirname(options.path), { recursive: true });

  let writing = Promise.resolve();
  const publish = () => {
    const done = writing.then(async () => {
      const temporary = `${options.path}.tmp`;
      writeFileSync(temporary, `${JSON.stringify(options.document(port), null, 1)}\n`, { mode: 0o644 });
      await rename(temporary, options.path);
    });
    // One that fails, on a full disk, doesn't stop those after it.
    writing = done.catch(() => {});
    return done;
  };
  const timer = setInterval(() => publish().catch(() => {}), options.publishMs ?? 1_000);
  await publish();
  return {
    port,
    publish,
    close: async () => {
      clearInterval(timer);
      // A full disk must not hide why the process ends.
      await publish().catch(() => {});
      server.closeAllConnections();
      await new Promise<void>((resolve) => server.close(() => resolve()));
    },
  };
}

function listen(server: Server, host: string, port: number): Promise<number> {
  return new Promise((resolve, reject) => {
    server.once("error", (cause: NodeJS.ErrnoException) => {
      reject(
        cause.code === "EADDRINUSE"
          ? new SluiceError("port-in-use", `port ${port} on ${host} is taken`, {
              remedy: `Choose another httpPort, or leave it out to take any free one; ss -ltnp "sport = :${port}" tells who has it.`,
              cause,
            })
          : new SluiceError("process", `port ${port} on ${host} can't be opened: ${cause.message}`, {
              remedy:
                cause.code === "EACCES"
                  ? "Choose an httpPort of 1024 or more, or leave it out to take any free one."
                  : "Check that this machine has the address (ip addr), or leave httpPort out.",
              cause,
            }),
      );
    });
    server.listen(port, host, () => {
      const address = server.address();
      resolve(typeof address === "object" && address !== null ? address.port : port);
    });
  });
}
