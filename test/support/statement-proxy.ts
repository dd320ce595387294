import { connect, createServer, type Socket } from "node:net";

/** A statement on its way to the server, and the server's answer to it. */
export interface Step {
  /** from 1, over all connections */
  number: number;
  /** its text; of a prepared one that of its preparation */
  text: string;
}

export interface StatementProxy {
  port: number;
  /** statements that have been answered since `watch` */
  steps: Step[];
  /**
   * Counts from here. Once the server has carried out the statement `cutAfter`, its answer is kept back, `onCut` called and
   * every connection cut; later ones pass.
   */
  watch(cutAfter?: number, onCut?: (step: Step) => void): void;
  close(): Promise<void>;
}

/** Leads to a PostgreSQL server without TLS, and looks at whole messages (PostgreSQL documentation, section 54.7). */
export async function startStatementProxy(target: { host: string; port: number }): Promise<StatementProxy> {
  const pairs = new Set<[Socket, Socket]>();
  const proxy = { steps: [] as Step[], cutAfter: 0, onCut: (_: Step) => {} };
  const cutAll = () => {
    for (const pair of pairs) for (const socket of pair) socket.destroy();
  };
  const server = createServer((near) => {
    const far = connect(target.port, target.host);
    const pair: [Socket, Socket] = [near, far];
    pairs.add(pair);
    let text: string | null = null;
    const fromClient = messages(true, (type, body) => {
      if (type === "Q") text = cString(body, 0);
      if (type === "P") text = cString(body, body.indexOf(0) + 1);
    });
    const fromServer = messages(false, (type) => {
      if (type !== "Z" || text === null) return true;
      const step = { number: proxy.steps.length + 1, text: text.replaceAll(/\s+/g, " ").trim() };
      text = null;
      proxy.steps.push(step);
      if (step.number !== proxy.cutAfter) return true;
      proxy.onCut(step);
      cutAll();
      return false;
    });
    near.on("data", (chunk: Buffer) => {
      fromClient(chunk);
      far.write(chunk);
    });
    far.on("data", (chunk: Buffer) => {
      if (fromServer(chunk)) near.write(chunk);
    });
    for (const [from, to] of [pair, [far, near] as const]) {
      from.on("end", () => to.end());
      from.on("error", () => to.destroy());
      from.on("close", () => {
        to.destroy();
        pairs.delete(pair);
      });
    }
  });
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(0, "127.0.0.1", resolve);
  });
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("the proxy has no port");
  return {
    port: address.port,
    get steps() {
      return proxy.steps;
    },
    watch(cutAfter = 0, onCut = () => {}) {
      Object.assign(proxy, { steps: [], cutAfter, onCut });
    },
    close: () => {
      cutAll();
      return new Promise((resolve) => server.close(() => resolve()));
    },
  };
}

/** Reads a stream of messages; answers false as soon as `seen` has. @param hasStartup the first message has no type */
function messages(hasStartup: boolean, seen: (type: string, body: Buffer) => unknown) {
  let rest = Buffer.alloc(0);
  let startup = hasStartup;
  return (chunk: Buffer): boolean => {
    rest = Buffer.concat([rest, chunk]);
    for (;;) {
      const head = startup ? 0 : 1;
      if (rest.length < head + 4) return true;
      const end = head + rest.readInt32BE(head);
      if (rest.length < end) return true;
      const [type, body] = [startup ? "" : String.fromCharCode(rest[0]), rest.subarray(head + 4, end)];
      startup = false;
      rest = rest.subarray(end);
      if (seen(type, body) === false) return false;
    }
  };
}

function cString(buffer: Buffer, start: number): string {
  return buffer.toString("utf8", start, buffer.indexOf(0, start));
}
