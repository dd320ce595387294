import { createServer, type Server } from "node:https";
import { createRequire } from "node:module";
import type { AddressInfo } from "node:net";
import { type Certificate, makeCertificate } from "./certificates";

/** The client's own copy of thrift, so that both sides speak by the same types. */
const clientRequire = createRequire(require.resolve("@databricks/sql"));
const { TBinaryProtocol, TBufferedTransport, createHttpConnection, createHttpClient } = clientRequire("thrift");
const service = clientRequire("../thrift/TCLIService.js");
const types = clientRequire("../thrift/TCLIService_types.js");

type Message = Record<string, unknown>;

/** What happens to a call on its way: nothing, its answer is lost behind its effect, or it never arrives. */
export type Fault = "none" | "lose-answer" | "lose-call";

/**
 * The thrift server of Spark as a Databricks warehouse is reached: by TLS and a bearer token, with what `@databricks/sql`
 * expects beyond Hive's protocol. On 127.0.0.1.
 */
export class SparkFront {
  /** asked for each statement */
  fault: (statement: string) => Fault = () => "none";
  readonly statements: string[] = [];

  private constructor(
    private readonly server: Server,
    readonly port: number,
    readonly caCert: string,
  ) {}

  static async start(sparkPort: number, token: string): Promise<SparkFront> {
    const authority = makeCertificate({ subject: "spark front", isAuthority: true });
    const certificate: Certificate = makeCertificate({ subject: "localhost", issuer: authority, names: ["localhost"] });
    const server = createServer({ key: certificate.key, cert: certificate.certificate });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const front = new SparkFront(server, (server.address() as AddressInfo).port, authority.certificate);
    server.on("request", (request, response) => {
      if (request.headers.authorization !== `Bearer ${token}`) {
        response.writeHead(401).end();
        return;
      }
      const chunks: Buffer[] = [];
      request.on("data", (chunk: Buffer) => chunks.push(chunk));
      request.on("end", () => {
        const lose = () => request.socket.destroy();
        front.answer(Buffer.concat(chunks), sparkPort, lose).then(
          (body) => response.writeHead(200, { "content-type": "application/x-thrift" }).end(body),
          () => lose(),
        );
      });
    });
    return front;
  }

  private answer(body: Buffer, sparkPort: number, lose: () => void): Promise<Buffer> {
    return new Promise((resolve, reject) => {
      const connection = createHttpConnection("127.0.0.1", sparkPort, {
        path: "/cliservice",
        headers: { Authorization: `Basic ${Buffer.from("sluice:sluice").toString("base64")}` },
        transport: TBufferedTransport,
        protocol: TBinaryProtocol,
      });
      connection.on("error", reject);
      const client = createHttpClient(service.Client, connection);
      const call = async (name: string, request: Message): Promise<Message> => {
        const statement = name === "ExecuteStatement" ? String(request.statement) : null;
        if (statement !== null) this.statements.push(statement);
        const fault = statement === null ? "none" : this.fault(statement);
        if (fault === "lose-call") {
          lose();
          throw new Error("lost");
        }
        const answered = bridged(name, await client[name](toSpark(name, request)));
        if (fault === "lose-answer") {
          await this.ended(client, answered);
          lose();
          throw new Error("lost");
        }
        return answered;
      };
      const handler: Record<string, (request: Message) => Promise<Message>> = {};
      for (const name of Object.keys(service.Client.prototype)) {
        if (/^[A-Z]/.test(name)) handler[name] = (request) => call(name, request);
      }
      const processor = new service.Processor(handler);
      const receive = TBufferedTransport.receiver((transport: unknown) => {
        const output = new TBinaryProtocol(new TBufferedTransport(undefined, (buffer: Buffer) => resolve(buffer)));
        processor.process(new TBinaryProtocol(transport), output);
      });
      receive(body);
    });
  }

  /** Waits until a statement has had its effect. */
  private async ended(
    client: Record<string, (request: Message) => Promise<Message>>,
    answered: Message,
  ): Promise<void> {
    const { operationHandle } = answered;
    if (!operationHandle) return;
    const running = [0, 1, 6, 7];
    for (;;) {
      const status = await client.GetOperationStatus(new types.TGetOperationStatusReq({ operationHandle }) as Message);
      if (!running.includes(status.operationState as number)) return;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }

  close(): Promise<void> {
    this.server.closeAllConnections();
    return new Promise((resolve) => this.server.close(() => resolve()));
  }
}

interface ResultColumn {
  position: number;
  typeDesc: { types: { primitiveEntry: { type: number } | null }[] };
}

/** A request as Hive's protocol has it. */
function toSpark(name: string, request: Message): Message {
  if (name !== "OpenSession") return request;
  const version = types.TProtocolVersion.HIVE_CLI_SERVICE_PROTOCOL_V10;
  return new types.TOpenSessionReq({ client_protocol: version, username: "sluice", password: "sluice" });
}

/** An answer as the client wants it. */
function bridged(name: string, answer: Message): Message {
  if (name === "GetResultSetMetadata") {
    const columns = (answer.schema as { columns: ResultColumn[] } | null)?.columns ?? [];
    // Spark counts from 0, Databricks from 1.
    if (columns[0]?.position === 0) for (const column of columns) column.position++;
    // Spark gives a map as Hive's text, which is no JSON where a value has quotes.
    for (const { typeDesc } of columns) {
      const { primitiveEntry } = typeDesc.types[0];
      if (primitiveEntry !== null && primitiveEntry.type === types.TTypeId.MAP_TYPE)
        primitiveEntry.type = types.TTypeId.STRING_TYPE;
    }
    answer.resultFormat ??= types.TSparkRowSetType.COLUMN_BASED_SET;
  }
  if (name === "GetOperationStatus") answer.displayMessage ??= answer.errorMessage;
  return answer;
}
