import type * as grpcTypes from "@grpc/grpc-js";
import type { Project } from "./project";
import { channelOptions, grpc, providerServices, sdkEntry } from "./protocol";
import type { IProviderClient } from "./provider-client";
import { TetheredProcess, withDeadline } from "./tethered-process";

const START_TIMEOUT_MS = 60_000;

export interface ProviderProcessOptions {
  project: Project;
  /** Address of the engine, for the provider's log messages. */
  address: string;
  env: Record<string, string | undefined>;
  onLine: (line: string) => void;
  /** Scripts of plug-ins by their packages, for resources that aren't dynamic; each is started as the SDK's own is. */
  plugins?: Readonly<Record<string, string>>;
}

/** A provider, running in the program's folder. */
export interface ProviderProcess {
  client: IProviderClient;
  exited: Promise<number | string>;
  stop(): Promise<void>;
}

/** Starts the process, by default the SDK's dynamic provider, and waits for the port it prints first. */
export async function startProviderProcess(
  options: ProviderProcessOptions,
  script = sdkEntry("cmd/dynamic-provider"),
): Promise<ProviderProcess> {
  let announce: (port: string) => void;
  const announced = new Promise<string>((resolve) => {
    announce = resolve;
  });
  let started = false;
  const child = new TetheredProcess({
    script,
    args: [options.address],
    cwd: options.project.programDir,
    env: {
      ...options.env,
      PULUMI_NODEJS_PROJECT: options.project.name,
      PULUMI_PROJECT: options.project.name,
    },
    onLine: (line, stream) => {
      if (started || stream === "stderr") return options.onLine(line);
      started = true;
      announce(line);
    },
  });
  const died = child.exited.then((code) => {
    throw new Error(`the provider process ended at its start (${code})`);
  });
  try {
    const port = await withDeadline(Promise.race([announced, died]), START_TIMEOUT_MS, "starting the provider process");
    const client = new providerServices.ResourceProviderClient(
      `127.0.0.1:${port}`,
      grpc.credentials.createInsecure(),
      channelOptions as grpcTypes.ClientOptions,
    );
    return {
      client,
      exited: child.exited,
      stop: async () => {
        client.close();
        await child.stop();
      },
    };
  } catch (error) {
    await child.stop();
    throw error;
  }
}
