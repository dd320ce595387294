import { createServer, type Server } from "node:https";
import { createRequire } from "node:module";
import type { AddressInfo } from "node:net";
import { type Certificate, makeCertificate } from "./certificates";

/** The client's own copy of thrift, so that both sides speak by the same types. */
export const clientRequire = createRequire(require.resolve("@databricks/sql"));
const { TBinaryProtocol, TBufferedTransport } = clientRequire("thrift");
const service = clientRequire("../thrift/TCLIService.js");
export const types = clientRequire("../thrift/TCLIService_types.js");

export type Message = Record<string, unknown>;
/** What answers calls of the protocol, by their names. */
export type WarehouseService = (name: string, request: Message) => Promise<Message>;

/** `statement`: of ExecuteStatement, else null */
export interface WarehouseCall {
  name: string;
  statement: string | null;
}

/**
 * What happens to a call on its way: nothing; its answer is lost behind its effect; it never arrives; it is never answered;
 * HTTP answers with a status, before an effect or behind it; the service refuses it without a word of SQL's.
 */
export type Fault =
  | "none"
  | "lose-answer"
  | "lose-call"
  | "hang"
  | { status: number; headers?: Record<string, string>; isBehind?: true }
  | { refusal: string };

class Unserved extends Error {
  constructor(readonly fault: Exclude<Fault, "none" | "hang">) {
    super("the call isn't answered");
  }
}

/** A service as a Databricks warehouse is reached: by TLS and a bearer token, with faults on the way. On 127.0.0.1. */
export class WarehouseFront {
  /** asked for each call */
  fault: (call: WarehouseCall) => Fault = () => "none";
  accepts: (token: string) => boolean;
  /** service principals that may log in by OAuth, and their secrets */
  readonly principals = new Map<string, string>();
  readonly statements: string[] = [];
  /** how often each was called */
  readonly calls = new Map<string, number>();

  private constructor(
    private readonly server: Server,
    private readonly serve: WarehouseService,
    token: string,
    readonly port: number,
    readonly caCert: string,
  ) {
    this.accepts = (given) => given === token;
  }

  static async start(serve: WarehouseService, given: string): Promise<WarehouseFront> {
    const authority = makeCertificate({ subject: "warehouse front", isAuthority: true });
    const certificate: Certificate = makeCertificate({ subject: "localhost", issuer: authority, names: ["localhost"] });
    const server = createServer({ key: certificate.key, cert: certificate.certificate });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const { port } = server.address() as AddressInfo;
    const front = new WarehouseFront(server, serve, given, port, authority.certificate);
    server.on("request", (request, response) => {
      if (request.url === "/oidc/v1/token") {
        const basic = Buffer.from((request.headers.authorization ?? "").slice("Basic ".length), "base64").toString();
        const [id, secret] = basic.split(":");
        const isKnown = front.principals.get(id) === secret;
        response.writeHead(isKnown ? 200 : 401, { "content-type": "application/json" });
        response.end(JSON.stringify(isKnown ? { access_token: given, expires_in: 3600 } : { error: "invalid_client" }));
        return;
      }
      const [, token = ""] = /^Bearer (.*)$/.exec(request.headers.authorization ?? "") ?? [];
      if (!front.accepts(token)) {
        response.writeHead(401).end();
        return;
      }
      const chunks: Buffer[] = [];
      request.on("data", (chunk: Buffer) => chunks.push(chunk));
      request.on("end", () => {
        front.answer(Buffer.concat(chunks)).then(
          (body) => response.writeHead(200, { "content-type": "application/x-thrift" }).end(body),
          (thrown: unknown) => {
            const fault = thrown instanceof Unserved ? thrown.fault : "lose-answer";
            if (typeof fault === "object" && "status" in fault) response.writeHead(fault.status, fault.headers).end();
            else request.socket.destroy();
          },
        );
      });
    });
    return front;
  }

  private answer(body: Buffer): Promise<Buffer> {
    return new Promise((resolve, reject) => {
      const handler: Record<string, (request: Message) => Promise<Message>> = {};
      for (const name of Object.keys(service.Client.prototype)) {
        if (!/^[A-Z]/.test(name)) continue;
        handler[name] = (request) => {
          const answered = this.call(name, request);
          // The protocol would make an answer of it.
          return answered.catch((thrown: unknown) => {
            reject(thrown);
            return new Promise<never>(() => {});
          });
        };
      }
      const processor = new service.Processor(handler);
      const receive = TBufferedTransport.receiver((transport: unknown) => {
        const output = new TBinaryProtocol(new TBufferedTransport(undefined, (buffer: Buffer) => resolve(buffer)));
        processor.process(new TBinaryProtocol(transport), output);
      });
      receive(body);
    });
  }

  private async call(name: string, request: Message): Promise<Message> {
    const statement = name === "ExecuteStatement" ? String(request.statement) : null;
    if (statement !== null) this.statements.push(statement);
    this.calls.set(name, (this.calls.get(name) ?? 0) + 1);
    const fault = this.fault({ name, statement });
    if (fault === "hang") return new Promise(() => {});
    if (typeof fault === "object" && "refusal" in fault) return refusal(fault.refusal);
    const isBehind = fault === "lose-answer" || (typeof fault === "object" && fault.isBehind === true);
    if (fault !== "none" && !isBehind) throw new Unserved(fault);
    const answered = await this.serve(name, request);
    if (fault === "none") return answered;
    await this.ended(answered);
    throw new Unserved(fault);
  }

  /** Waits until a statement has had its effect. */
  private async ended({ operationHandle }: Message): Promise<void> {
    if (!operationHandle) return;
    const running = [0, 1, 6, 7];
    for (;;) {
      const status = await this.serve("GetOperationStatus", new types.TGetOperationStatusReq({ operationHandle }));
      if (!running.includes(status.operationState as number)) return;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }

  close(): Promise<void> {
    this.server.closeAllConnections();
    return new Promise((resolve) => this.server.close(() => resolve()));
  }
}

/** An answer to any call that the service itself refuses; a session's is made of it too. */
export function refusal(errorMessage: string): Message {
  const status = { statusCode: types.TStatusCode.ERROR_STATUS, errorMessage, errorCode: 0, infoMessages: [] };
  return { status, serverProtocolVersion: types.TProtocolVersion.HIVE_CLI_SERVICE_PROTOCOL_V10 };
}
