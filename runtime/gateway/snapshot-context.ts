import type { GatewayConfig } from "../config";
import type { ObjectStore } from "../staging/object-store";
import type { Capture } from "./capture";
import type { SourceServers } from "./source-servers";
import type { Stager } from "./stager";

/** What the snapshots of a gateway's tables have in common. */
export interface SnapshotContext {
  config: GatewayConfig;
  servers: SourceServers;
  store: ObjectStore;
  stager: Stager;
  capture: Capture;
  signal: AbortSignal;
  /** Holds what the stream sends until the work is done; `isCurrent` is false once its connection is lost. */
  hold(work: (isCurrent: () => boolean) => Promise<void>): void;
}
