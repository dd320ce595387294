import { randomUUID } from "node:crypto";
import { SqlFailure } from "../../runtime/destination/databricks/sql-failure";
import type { SqlRow } from "../../runtime/destination/databricks/sql-session";
import type { RecordedWarehouse } from "./recorded-warehouse";
import { type Message, refusal, types, type WarehouseService } from "./warehouse-front";

interface Operation {
  session: string;
  state: number;
  columns: string[];
  rows: SqlRow[];
  failure: unknown;
  cancel: AbortController;
}

/** A recorded engine as the service of a warehouse: its sessions, and statements that run by themselves. */
export class RecordedService {
  readonly sessions = new Set<string>();
  private readonly operations = new Map<string, Operation>();

  constructor(private readonly engine: RecordedWarehouse) {}

  readonly serve: WarehouseService = async (name, request) => {
    const success = { statusCode: types.TStatusCode.SUCCESS_STATUS };
    switch (name) {
      case "OpenSession": {
        const id = newId();
        this.sessions.add(keyOf(id));
        const { HIVE_CLI_SERVICE_PROTOCOL_V10: serverProtocolVersion } = types.TProtocolVersion;
        return { status: success, serverProtocolVersion, sessionHandle: { sessionId: id } };
      }
      case "CloseSession":
        this.closeSession(keyOf((request.sessionHandle as { sessionId: Id }).sessionId));
        return { status: success };
      case "ExecuteStatement":
        return this.execute(keyOf((request.sessionHandle as { sessionId: Id }).sessionId), String(request.statement));
    }
    const operation = this.operations.get(keyOf((request.operationHandle as { operationId: Id }).operationId));
    if (operation === undefined) return refusal("Invalid OperationHandle: OperationHandle");
    switch (name) {
      case "GetOperationStatus":
        return { status: success, operationState: operation.state, hasResultSet: true, ...told(operation.failure) };
      case "GetResultSetMetadata":
        return {
          status: success,
          schema: schemaOf(operation.columns),
          resultFormat: types.TSparkRowSetType.COLUMN_BASED_SET,
        };
      case "FetchResults": {
        // The client asks until nothing comes.
        const results = resultsOf(operation.columns, operation.rows);
        operation.rows = [];
        return { status: success, hasMoreRows: false, results };
      }
      case "CancelOperation":
        this.cancel(operation);
        return { status: success };
      case "CloseOperation":
        return { status: success };
      default:
        return refusal(`no ${name} here`);
    }
  };

  /** As it ends by itself when it was idle for long, or its warehouse has stopped. */
  closeSession(key: string): void {
    this.sessions.delete(key);
    for (const operation of this.operations.values()) if (operation.session === key) this.cancel(operation);
  }

  /** By somebody who looks at the warehouse. */
  cancelAll(): void {
    for (const operation of this.operations.values()) this.cancel(operation);
  }

  private execute(session: string, statement: string): Message {
    if (!this.sessions.has(session)) return refusal(`Invalid SessionHandle: SessionHandle [${session}]`);
    const { RUNNING_STATE, FINISHED_STATE, ERROR_STATE } = types.TOperationState;
    const cancel = new AbortController();
    const operation: Operation = { session, state: RUNNING_STATE, columns: [], rows: [], failure: null, cancel };
    const id = newId();
    this.operations.set(keyOf(id), operation);
    this.engine.run(statement, cancel.signal).then(
      (rows) => {
        // A result without rows has a column too: of one without any the client asks for no rows.
        const columns = rows.length === 0 ? ["none"] : Object.keys(rows[0]);
        if (operation.state === RUNNING_STATE) Object.assign(operation, { state: FINISHED_STATE, columns, rows });
      },
      (failure: unknown) => {
        if (operation.state === RUNNING_STATE) Object.assign(operation, { state: ERROR_STATE, failure });
      },
    );
    const { EXECUTE_STATEMENT } = types.TOperationType;
    const operationHandle = { operationId: id, operationType: EXECUTE_STATEMENT, hasResultSet: true };
    return { status: { statusCode: types.TStatusCode.SUCCESS_STATUS }, operationHandle };
  }

  private cancel(operation: Operation): void {
    if (operation.state !== types.TOperationState.RUNNING_STATE) return;
    operation.state = types.TOperationState.CANCELED_STATE;
    operation.cancel.abort();
  }
}

interface Id {
  guid: Buffer;
  secret: Buffer;
}

const guid = () => Buffer.from(randomUUID().replaceAll("-", ""), "hex");
const newId = (): Id => ({ guid: guid(), secret: guid() });
const keyOf = (id: Id) => Buffer.from(id.guid).toString("hex");

function told(failure: unknown): Message {
  if (failure === null) return {};
  const message = failure instanceof Error ? failure.message : String(failure);
  const sqlState = failure instanceof SqlFailure ? failure.sqlState : undefined;
  return { errorMessage: message, displayMessage: message, sqlState };
}

function schemaOf(columns: string[]): Message {
  const typeDesc = { types: [{ primitiveEntry: { type: types.TTypeId.STRING_TYPE } }] };
  return { columns: columns.map((columnName, at) => ({ columnName, typeDesc, position: at + 1 })) };
}

function resultsOf(names: string[], rows: SqlRow[]): Message {
  const columns = names.map((name) => ({
    stringVal: { values: rows.map((row) => String(row[name] ?? "")), nulls: Buffer.alloc(Math.ceil(rows.length / 8)) },
  }));
  return { startRowOffset: 0, rows: [], columns };
}
