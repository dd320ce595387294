import type { ServerUnaryCall, sendUnaryData } from "@grpc/grpc-js";
import type { PropertyMap } from "./property-values";
import {
  channelOptions,
  Empty,
  engineMessages,
  engineServices,
  grpc,
  resourceMessages,
  resourceServices,
} from "./protocol";
import { fromStruct, toStruct } from "./provider-client";

/** A resource as the program wants it. */
export interface Goal {
  type: string;
  name: string;
  parent: string;
  custom: boolean;
  remote: boolean;
  inputs: PropertyMap;
  protect: boolean;
  dependencies: string[];
  propertyDependencies: Record<string, string[]>;
  /** Reference `urn::id`; empty for the default provider. */
  provider: string;
  deleteBeforeReplace?: boolean;
  ignoreChanges: string[];
  replaceOnChanges: string[];
  additionalSecretOutputs: string[];
  aliases: string[];
  importId: string;
  retainOnDelete: boolean;
  deletedWith: string;
}

/** An existing resource that the program only looks at. */
export type ReadGoal = Pick<
  Goal,
  "type" | "name" | "parent" | "inputs" | "dependencies" | "provider" | "additionalSecretOutputs"
> & { id: string };

export interface Registered {
  urn: string;
  id: string;
  properties: PropertyMap;
  /** It isn't made, and what takes something from it isn't either. */
  isUnknown?: boolean;
}

export type Severity = "info" | "warning" | "error";

/** What a program asks of the engine. An operation that has failed rejects with `Terminated`. */
export interface Monitor {
  deployment: { project: string; stack: string; dryRun: boolean };
  registerResource(goal: Goal): Promise<Registered>;
  readResource(goal: ReadGoal): Promise<Registered>;
  registerOutputs(urn: string, outputs: PropertyMap): Promise<void>;
  /** The program has declared all; resolves when everything is done. */
  finish(): Promise<void>;
  log(severity: Severity | "debug", message: string, urn: string): void;
}

/** Answered as UNAVAILABLE, on which the SDK ends the program quietly. */
export class Terminated extends Error {}

export interface MonitorServer {
  address: string;
  stop(): void;
}

/** One server for both of the SDK's services, on a free loopback port. */
export async function startMonitorServer(monitor: Monitor): Promise<MonitorServer> {
  const server = new grpc.Server(channelOptions);
  server.addService(resourceServices.ResourceMonitorService as never, resourceMonitor(monitor) as never);
  server.addService(engineServices.EngineService as never, engine(monitor) as never);
  const port = await new Promise<number>((resolve, reject) => {
    const credentials = grpc.ServerCredentials.createInsecure();
    server.bindAsync("127.0.0.1:0", credentials, (error, bound) => (error ? reject(error) : resolve(bound)));
  });
  return { address: `127.0.0.1:${port}`, stop: () => server.forceShutdown() };
}

function handler<Request, Response>(answer: (request: Request) => Promise<Response> | Response) {
  return (call: ServerUnaryCall<Request, Response>, callback: sendUnaryData<Response>) => {
    Promise.resolve()
      .then(() => answer(call.request))
      .then(
        (response) => callback(null, response),
        (error: Error) => {
          const code = error instanceof Terminated ? grpc.status.UNAVAILABLE : grpc.status.UNKNOWN;
          callback({ code, details: error.message });
        },
      );
  };
}

type RegisterRequest = import("@pulumi/pulumi/proto/resource_pb.js").RegisterResourceRequest;
type ReadRequest = import("@pulumi/pulumi/proto/resource_pb.js").ReadResourceRequest;
type OutputsRequest = import("@pulumi/pulumi/proto/resource_pb.js").RegisterResourceOutputsRequest;
type InvokeRequest = import("@pulumi/pulumi/proto/resource_pb.js").ResourceInvokeRequest;
type LogRequest = import("@pulumi/pulumi/proto/engine_pb.js").LogRequest;

function resourceMonitor(monitor: Monitor) {
  const features = resourceMessages.ResourceMonitorFeature;
  /** URNs that are left out of deletes: what stands below such a one is too, unless it says otherwise. */
  const retained = new Set<string>();
  // Aliases as specifications are left out: then the SDK itself works out their URNs.
  const supported = [
    features.RESOURCE_MONITOR_FEATURE_SECRETS,
    features.RESOURCE_MONITOR_FEATURE_RESOURCE_REFERENCES,
    features.RESOURCE_MONITOR_FEATURE_DELETED_WITH,
  ];
  return {
    getDeploymentInfo: handler(() => {
      const info = new resourceMessages.DeploymentInfo();
      info.setProject(monitor.deployment.project);
      info.setStack(monitor.deployment.stack);
      info.setOrganization("organization");
      info.setDryrun(monitor.deployment.dryRun);
      info.setSupportedfeaturesList(supported);
      return info;
    }),
    registerResource: handler(async (request: RegisterRequest) => {
      const goal = goalOf(request, retained);
      const registered = await monitor.registerResource(goal);
      if (goal.retainOnDelete) retained.add(registered.urn);
      const response = new resourceMessages.RegisterResourceResponse();
      response.setUrn(registered.urn);
      response.setId(registered.id);
      response.setObject(toStruct(registered.properties));
      response.setUnknown(registered.isUnknown ?? false);
      return response;
    }),
    readResource: handler(async (request: ReadRequest) => {
      const registered = await monitor.readResource({
        type: request.getType(),
        name: request.getName(),
        id: request.getId(),
        parent: request.getParent(),
        inputs: fromStruct(request.getProperties()),
        dependencies: request.getDependenciesList(),
        provider: request.getProvider(),
        additionalSecretOutputs: request.getAdditionalsecretoutputsList(),
      });
      const response = new resourceMessages.ReadResourceResponse();
      response.setUrn(registered.urn);
      response.setProperties(toStruct(registered.properties));
      return response;
    }),
    registerResourceOutputs: handler(async (request: OutputsRequest) => {
      await monitor.registerOutputs(request.getUrn(), fromStruct(request.getOutputs()));
      return new Empty();
    }),
    signalAndWaitForShutdown: handler(async () => {
      await monitor.finish();
      return new Empty();
    }),
    invoke: handler((request: InvokeRequest) => {
      throw new Error(`the test engine has no functions: ${request.getTok()}`);
    }),
  };
}

function engine(monitor: Monitor) {
  let root = "";
  return {
    log: handler((request: LogRequest) => {
      const severities = ["debug", "info", "warning", "error"] as const;
      monitor.log(severities[request.getSeverity()], request.getMessage(), request.getUrn());
      return new Empty();
    }),
    getRootResource: handler(() => {
      const response = new engineMessages.GetRootResourceResponse();
      response.setUrn(root);
      return response;
    }),
    setRootResource: handler((request: { getUrn(): string }) => {
      root = request.getUrn();
      return new engineMessages.SetRootResourceResponse();
    }),
    requirePulumiVersion: handler(() => new engineMessages.RequirePulumiVersionResponse()),
  };
}

function goalOf(request: RegisterRequest, retained: ReadonlySet<string>): Goal {
  const propertyDependencies: Record<string, string[]> = {};
  for (const [key, list] of request.getPropertydependenciesMap().entries()) {
    propertyDependencies[key] = list.getUrnsList();
  }
  return {
    type: request.getType(),
    name: request.getName(),
    parent: request.getParent(),
    custom: request.getCustom(),
    remote: request.getRemote(),
    inputs: fromStruct(request.getObject()),
    protect: request.getProtect() ?? false,
    dependencies: request.getDependenciesList(),
    propertyDependencies,
    provider: request.getProvider(),
    deleteBeforeReplace: request.getDeletebeforereplacedefined() ? request.getDeletebeforereplace() : undefined,
    ignoreChanges: request.getIgnorechangesList(),
    replaceOnChanges: request.getReplaceonchangesList(),
    additionalSecretOutputs: request.getAdditionalsecretoutputsList(),
    aliases: request.getAliasurnsList(),
    importId: request.getImportid(),
    retainOnDelete: request.hasRetainondelete()
      ? (request.getRetainondelete() ?? false)
      : retained.has(request.getParent()),
    deletedWith: request.getDeletedwith(),
  };
}
