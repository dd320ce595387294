import { createReadStream } from "node:fs";
import { stat } from "node:fs/promises";
import { type IncomingMessage, Agent as PlainAgent, request as plainRequest } from "node:http";
import { Agent, request as tlsRequest } from "node:https";
import type { Readable } from "node:stream";
import { finished, pipeline } from "node:stream/promises";

export type HttpBody = { kind: "bytes"; bytes: Buffer; type: string } | { kind: "file"; path: string };

export interface HttpRequest {
  method: "GET" | "HEAD" | "PUT" | "POST" | "PATCH" | "DELETE";
  url: URL;
  headers: Record<string, string>;
  body?: HttpBody;
  /** nothing sent or received for so long ends it */
  idleMsMax: number;
}

export interface HttpResponse {
  status: number;
  headers: Record<string, string | undefined>;
  /** to be read to its end; it fails when it ends before its announced length */
  stream: Readable;
}

/** Connections to one host that are kept and shared; no more at a time than `connectionsMax`. */
export class HttpConnections {
  private readonly agent: Agent | PlainAgent;

  constructor(host: string, connectionsMax: number) {
    const options = {
      keepAlive: true,
      maxSockets: connectionsMax,
      maxFreeSockets: connectionsMax,
      scheduling: "lifo",
    } as const;
    this.agent = host.startsWith("https:") ? new Agent(options) : new PlainAgent(options);
  }

  /** Once, without another attempt. @throws the system's error, with its code */
  async send({ method, url, headers, body, idleMsMax }: HttpRequest): Promise<HttpResponse> {
    const length = await lengthOf(body);
    const make = url.protocol === "https:" ? tlsRequest : plainRequest;
    const outgoing = make(url, {
      method,
      agent: this.agent,
      headers: {
        ...headers,
        ...(length === null ? {} : { "content-length": String(length), "content-type": typeOf(body) }),
      },
    });
    outgoing.setTimeout(idleMsMax, () => outgoing.destroy(timedOut(method, url, idleMsMax)));
    const response = new Promise<IncomingMessage>((resolve, reject) => {
      outgoing.once("response", resolve);
      outgoing.once("error", reject);
    });
    // An answer may come, and the connection end, before all of a body is sent.
    response.catch(() => {});
    if (body?.kind === "file") {
      const sent = pipeline(createReadStream(body.path), outgoing);
      const incoming = await Promise.race([response, sent.then(() => response)]);
      return answer(incoming);
    }
    outgoing.end(body?.bytes);
    return answer(await response);
  }

  close(): void {
    this.agent.destroy();
  }
}

function answer(incoming: IncomingMessage): HttpResponse {
  const headers: Record<string, string | undefined> = {};
  for (const [name, value] of Object.entries(incoming.headers)) headers[name] = Array.isArray(value) ? value[0] : value;
  return { status: incoming.statusCode ?? 0, headers, stream: incoming };
}

async function lengthOf(body: HttpBody | undefined): Promise<number | null> {
  if (body === undefined) return null;
  return body.kind === "bytes" ? body.bytes.length : (await stat(body.path)).size;
}

const typeOf = (body: HttpBody | undefined) => (body?.kind === "bytes" ? body.type : "application/octet-stream");

function timedOut(method: string, url: URL, idleMsMax: number): Error {
  return Object.assign(new Error(`${method} ${url.pathname}: nothing came for ${idleMsMax} ms`), { code: "ETIMEDOUT" });
}

/** The whole of an answer that is small. @throws Error when it has more bytes, or ends early */
export async function readBody(response: HttpResponse, bytesMax: number): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of response.stream as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > bytesMax) throw new Error(`an answer has more than ${bytesMax} bytes`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

/** Reads what nobody wants, so that the connection is free for others. */
export async function discardBody(response: HttpResponse): Promise<void> {
  response.stream.resume();
  await finished(response.stream);
}
