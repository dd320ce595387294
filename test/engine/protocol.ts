import { createRequire } from "node:module";

// Messages must be built with the SDK's own copies of gRPC and of the protocol, so all of them are resolved from it.
const sdk = createRequire(createRequire(__filename).resolve("@pulumi/pulumi/package.json"));

export const grpc = sdk("@grpc/grpc-js") as typeof import("@grpc/grpc-js");
export const { Struct } = sdk(
  "google-protobuf/google/protobuf/struct_pb.js",
) as typeof import("google-protobuf/google/protobuf/struct_pb.js");
export const { Empty } = sdk(
  "google-protobuf/google/protobuf/empty_pb.js",
) as typeof import("google-protobuf/google/protobuf/empty_pb.js");
export const resourceMessages = sdk("./proto/resource_pb.js") as typeof import("@pulumi/pulumi/proto/resource_pb.js");
export const resourceServices = sdk(
  "./proto/resource_grpc_pb.js",
) as typeof import("@pulumi/pulumi/proto/resource_grpc_pb.js");
export const engineMessages = sdk("./proto/engine_pb.js") as typeof import("@pulumi/pulumi/proto/engine_pb.js");
export const engineServices = sdk(
  "./proto/engine_grpc_pb.js",
) as typeof import("@pulumi/pulumi/proto/engine_grpc_pb.js");
export const providerMessages = sdk("./proto/provider_pb.js") as typeof import("@pulumi/pulumi/proto/provider_pb.js");
export const providerServices = sdk(
  "./proto/provider_grpc_pb.js",
) as typeof import("@pulumi/pulumi/proto/provider_grpc_pb.js");
export const statusMessages = sdk("./proto/status_pb.js") as typeof import("@pulumi/pulumi/proto/status_pb.js");

/** The SDK's YAML reader, for Pulumi.yaml. */
export const yaml = sdk("js-yaml") as { load(text: string): unknown };

/** Path of one of the SDK's entry points, as `cmd/run`. */
export function sdkEntry(name: "cmd/run" | "cmd/dynamic-provider"): string {
  return sdk.resolve(`./${name}`);
}

/** gRPC's own limit is 4 MB a message; stored provider code and blobs are larger. */
export const channelOptions = {
  "grpc.max_receive_message_length": 400 * 1024 * 1024,
  "grpc.max_send_message_length": 400 * 1024 * 1024,
} as const;
