import { clientRequire, type Message, types, WarehouseFront } from "./warehouse-front";

const { TBinaryProtocol, TBufferedTransport, createHttpConnection, createHttpClient } = clientRequire("thrift");
const service = clientRequire("../thrift/TCLIService.js");

/** The thrift server of Spark as a warehouse, with what `@databricks/sql` expects beyond Hive's protocol. */
export function startSparkFront(sparkPort: number, token: string): Promise<WarehouseFront> {
  const call = (name: string, request: Message) =>
    new Promise<Message>((resolve, reject) => {
      const connection = createHttpConnection("127.0.0.1", sparkPort, {
        path: "/cliservice",
        headers: { Authorization: `Basic ${Buffer.from("sluice:sluice").toString("base64")}` },
        transport: TBufferedTransport,
        protocol: TBinaryProtocol,
      });
      connection.on("error", reject);
      createHttpClient(service.Client, connection)[name](toSpark(name, request)).then(resolve, reject);
    });
  return WarehouseFront.start(async (name, request) => bridged(name, await call(name, request)), token);
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
