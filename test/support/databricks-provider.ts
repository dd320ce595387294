/*
 * Stands for the plug-in of Databricks in stacks of the test engine: it keeps resources in a file instead of a workspace,
 * compares as recorded (databricks-resources.ts), and answers with more than it was given, as the server does.
 * DATABRICKS_STAND_IN names the file.
 */
import { randomUUID } from "node:crypto";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { channelOptions, Empty, grpc, providerMessages, providerServices } from "../engine/protocol";
import { fromStruct, toStruct } from "../engine/provider-client";
import { answered, differences } from "./databricks-resources";

type Values = Record<string, unknown>;
export interface WorkspaceFile {
  resources: Record<string, { type: string; inputs: Values }>;
  /** what was done, in order */
  calls: string[];
}

const path = process.env.DATABRICKS_STAND_IN as string;

function change(edit: (workspace: WorkspaceFile) => void): void {
  const workspace: WorkspaceFile = existsSync(path)
    ? (JSON.parse(readFileSync(path, "utf8")) as WorkspaceFile)
    : { resources: {}, calls: [] };
  edit(workspace);
  writeFileSync(path, JSON.stringify(workspace, null, 1));
}

const typeOf = (urn: string) => urn.split("::")[2].split("$").at(-1) as string;
const nameOf = (urn: string) => urn.split("::").at(-1) as string;
const label = (urn: string) => `${typeOf(urn).split(":").at(-1)} ${nameOf(urn)}`;

const { DiffResponse } = providerMessages;
type Request = {
  getUrn(): string;
  getId(): string;
  getNews(): Parameters<typeof fromStruct>[0];
  getOlds(): Parameters<typeof fromStruct>[0];
  getProperties(): Parameters<typeof fromStruct>[0];
  getIgnorechangesList(): string[];
};

const methods: Record<string, (request: Request) => unknown> = {
  configure: () => new providerMessages.ConfigureResponse(),
  check(request) {
    const response = new providerMessages.CheckResponse();
    response.setInputs(request.getNews());
    return response;
  },
  diff(request) {
    const response = new DiffResponse();
    const news = fromStruct(request.getNews()) as Values;
    const { changed, replaces } = differences(
      typeOf(request.getUrn()),
      fromStruct(request.getOlds()) as Values,
      news,
      request.getIgnorechangesList(),
    );
    response.setChanges(changed.length > 0 ? DiffResponse.DiffChanges.DIFF_SOME : DiffResponse.DiffChanges.DIFF_NONE);
    response.setDiffsList(changed);
    response.setReplacesList(replaces);
    return response;
  },
  create(request) {
    const inputs = fromStruct(request.getProperties()) as Values;
    const urn = request.getUrn();
    const id = `${label(urn).replaceAll(" ", "-")}-${randomUUID().slice(0, 8)}`;
    change(({ resources, calls }) => {
      resources[id] = { type: typeOf(urn), inputs };
      calls.push(`create ${label(urn)}`);
    });
    const response = new providerMessages.CreateResponse();
    response.setId(id);
    response.setProperties(toStruct(answered(typeOf(urn), inputs) as never));
    return response;
  },
  read(request) {
    const response = new providerMessages.ReadResponse();
    change(({ resources }) => {
      const found = resources[request.getId()];
      if (found === undefined) return;
      response.setId(request.getId());
      response.setInputs(toStruct(found.inputs as never));
      response.setProperties(toStruct(answered(found.type, found.inputs) as never));
    });
    return response;
  },
  update(request) {
    const news = fromStruct(request.getNews()) as Values;
    const urn = request.getUrn();
    change(({ resources, calls }) => {
      resources[request.getId()] = { type: typeOf(urn), inputs: news };
      calls.push(`update ${label(urn)}`);
    });
    const response = new providerMessages.UpdateResponse();
    response.setProperties(toStruct(answered(typeOf(urn), news) as never));
    return response;
  },
  delete(request) {
    change(({ resources, calls }) => {
      delete resources[request.getId()];
      calls.push(`delete ${label(request.getUrn())}`);
    });
    return new Empty();
  },
};

const handlers = Object.fromEntries(
  Object.entries(methods).map(([name, answer]) => [
    name,
    (call: { request: Request }, callback: (error: object | null, response?: unknown) => void) => {
      try {
        callback(null, answer(call.request));
      } catch (error) {
        callback({ code: grpc.status.UNKNOWN, details: (error as Error).message });
      }
    },
  ]),
);

const server = new grpc.Server(channelOptions);
server.addService(providerServices.ResourceProviderService as never, handlers as never);
server.bindAsync("127.0.0.1:0", grpc.ServerCredentials.createInsecure(), (error, port) => {
  if (error) throw error;
  console.log(port);
});
