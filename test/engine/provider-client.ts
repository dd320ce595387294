import type { ResourceProviderClient } from "@pulumi/pulumi/proto/provider_grpc_pb.js";
import type { Message } from "google-protobuf";
import type { Struct as StructMessage } from "google-protobuf/google/protobuf/struct_pb.js";
import { carrySecrets, type PropertyMap, plainProperties } from "./property-values";
import { grpc, providerMessages, Struct, statusMessages } from "./protocol";
import type { ProviderProcess } from "./provider-process";
import type { ProviderDiff } from "./steps";
import { parseUrn } from "./urn";

export type IProviderClient = ResourceProviderClient;

/** Plans are quick; a create may wait for a whole deployment. */
const PLAN_TIMEOUT_MS = 5 * 60_000;
const APPLY_TIMEOUT_MS = 30 * 60_000;

/** The resource exists, but is not as it should be: it goes into the state with its reasons. */
export class PartialFailure extends Error {
  constructor(
    message: string,
    readonly id: string,
    readonly properties: PropertyMap,
    readonly reasons: string[],
  ) {
    super(message);
  }
}

export interface CheckResult {
  inputs: PropertyMap;
  failures: { property: string; reason: string }[];
}

export interface ReadResult {
  /** Empty when the resource is gone. */
  id: string;
  outputs: PropertyMap;
  /** Undefined when the provider gave none. */
  inputs?: PropertyMap;
}

/** Calls of one configured provider. It gets plain values; what was secret going in is secret again coming out. */
export class ProviderClient {
  readonly #process: ProviderProcess;

  constructor(process: ProviderProcess) {
    this.#process = process;
  }

  async configure(config: PropertyMap): Promise<void> {
    const request = new providerMessages.ConfigureRequest();
    request.setArgs(toStruct(config));
    request.setAcceptsecrets(true);
    request.setAcceptresources(true);
    await this.#call("configure", request, PLAN_TIMEOUT_MS);
  }

  async check(urn: string, olds: PropertyMap, news: PropertyMap): Promise<CheckResult> {
    const request = describe(new providerMessages.CheckRequest(), urn);
    request.setOlds(toPlainStruct(olds));
    request.setNews(toPlainStruct(news));
    const response = await this.#call<InstanceType<typeof providerMessages.CheckResponse>>(
      "check",
      request,
      PLAN_TIMEOUT_MS,
    );
    return {
      inputs: carrySecrets(fromStruct(response.getInputs()), news),
      failures: response
        .getFailuresList()
        .map((failure) => ({ property: failure.getProperty(), reason: failure.getReason() })),
    };
  }

  async diff(
    urn: string,
    id: string,
    olds: { inputs: PropertyMap; outputs: PropertyMap },
    news: PropertyMap,
    ignored: readonly string[],
  ): Promise<ProviderDiff> {
    const request = describe(new providerMessages.DiffRequest(), urn);
    request.setId(id);
    request.setOlds(toPlainStruct(olds.outputs));
    request.setOldInputs(toPlainStruct(olds.inputs));
    request.setNews(toPlainStruct(news));
    request.setIgnorechangesList([...ignored]);
    const response = await this.#call<InstanceType<typeof providerMessages.DiffResponse>>(
      "diff",
      request,
      PLAN_TIMEOUT_MS,
    );
    const { DIFF_NONE, DIFF_SOME } = providerMessages.DiffResponse.DiffChanges;
    const answer = response.getChanges();
    return {
      changes: answer === DIFF_NONE ? "none" : answer === DIFF_SOME ? "some" : "unknown",
      replaces: response.getReplacesList(),
      deleteBeforeReplace: response.getDeletebeforereplace(),
    };
  }

  async create(urn: string, inputs: PropertyMap): Promise<{ id: string; outputs: PropertyMap }> {
    const request = describe(new providerMessages.CreateRequest(), urn);
    request.setProperties(toPlainStruct(inputs));
    const response = await this.#call<InstanceType<typeof providerMessages.CreateResponse>>(
      "create",
      request,
      APPLY_TIMEOUT_MS,
    );
    if (response.getId() === "") throw new Error("the provider returned no id from create");
    return { id: response.getId(), outputs: carrySecrets(fromStruct(response.getProperties()), inputs) };
  }

  async update(
    urn: string,
    id: string,
    olds: { inputs: PropertyMap; outputs: PropertyMap },
    news: PropertyMap,
    ignored: readonly string[],
  ): Promise<PropertyMap> {
    const request = describe(new providerMessages.UpdateRequest(), urn);
    request.setId(id);
    request.setOlds(toPlainStruct(olds.outputs));
    request.setOldInputs(toPlainStruct(olds.inputs));
    request.setNews(toPlainStruct(news));
    request.setIgnorechangesList([...ignored]);
    const response = await this.#call<InstanceType<typeof providerMessages.UpdateResponse>>(
      "update",
      request,
      APPLY_TIMEOUT_MS,
    );
    return carrySecrets(fromStruct(response.getProperties()), news);
  }

  async read(urn: string, id: string, inputs: PropertyMap, outputs: PropertyMap): Promise<ReadResult> {
    const request = describe(new providerMessages.ReadRequest(), urn);
    request.setId(id);
    request.setProperties(toPlainStruct(outputs));
    request.setInputs(toPlainStruct(inputs));
    const response = await this.#call<InstanceType<typeof providerMessages.ReadResponse>>(
      "read",
      request,
      PLAN_TIMEOUT_MS,
    );
    const known = { ...outputs, ...inputs };
    const read = response.getInputs();
    return {
      id: response.getId(),
      outputs: carrySecrets(fromStruct(response.getProperties()), known),
      inputs: read && carrySecrets(fromStruct(read), known),
    };
  }

  async delete(urn: string, id: string, inputs: PropertyMap, outputs: PropertyMap): Promise<void> {
    const request = describe(new providerMessages.DeleteRequest(), urn);
    request.setId(id);
    request.setProperties(toPlainStruct(outputs));
    request.setOldInputs(toPlainStruct(inputs));
    await this.#call("delete", request, APPLY_TIMEOUT_MS);
  }

  stop(): Promise<void> {
    return this.#process.stop();
  }

  #call<Response>(method: string, request: Message, timeoutMs: number): Promise<Response> {
    const { client, exited } = this.#process;
    const answered = new Promise<Response>((resolve, reject) => {
      const send = (client as unknown as Record<string, UnaryCall<Response>>)[method].bind(client);
      send(request, { deadline: Date.now() + timeoutMs }, (error, response) => {
        if (error) reject(providerError(error));
        else resolve(response);
      });
    });
    const died = exited.then((code): never => {
      throw new Error(`the provider process ended (${code}) during ${method}`);
    });
    died.catch(() => {});
    return Promise.race([answered, died]);
  }
}

type ServiceError = import("@grpc/grpc-js").ServiceError;
type UnaryCall<Response> = (
  request: Message,
  options: { deadline: number },
  callback: (error: ServiceError | null, response: Response) => void,
) => void;

function describe<T extends { setUrn(urn: string): void; setName(name: string): void; setType(type: string): void }>(
  request: T,
  urn: string,
): T {
  const { name, type } = parseUrn(urn);
  request.setUrn(urn);
  request.setName(name);
  request.setType(type);
  return request;
}

/** Partial failures travel in the details of the gRPC status. */
function providerError(error: ServiceError): Error {
  const [details] = error.metadata?.get("grpc-status-details-bin") ?? [];
  if (details instanceof Buffer) {
    const status = statusMessages.Status.deserializeBinary(details);
    for (const detail of status.getDetailsList()) {
      if (!detail.getTypeUrl().endsWith("pulumirpc.ErrorResourceInitFailed")) continue;
      const failed = providerMessages.ErrorResourceInitFailed.deserializeBinary(detail.getValue_asU8());
      const properties = fromStruct(failed.getProperties());
      return new PartialFailure(status.getMessage(), failed.getId(), properties, failed.getReasonsList());
    }
  }
  const code = error.code === grpc.status.UNKNOWN ? "" : `${grpc.status[error.code]}: `;
  return new Error(`${code}${error.details}`);
}

export function toStruct(properties: PropertyMap): StructMessage {
  return Struct.fromJavaScript(properties as Parameters<typeof Struct.fromJavaScript>[0]);
}

function toPlainStruct(properties: PropertyMap): StructMessage {
  return toStruct(plainProperties(properties));
}

export function fromStruct(struct: StructMessage | undefined): PropertyMap {
  return (struct?.toJavaScript() ?? {}) as PropertyMap;
}
