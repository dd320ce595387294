import { describeError, SluiceError } from "../runtime/errors";
import { deploymentOf } from "./deploy/target";
import { connection } from "./lifecycle/connection";
import { gatewayLifecycle } from "./lifecycle/gateway";
import { ingestionPipelineLifecycle } from "./lifecycle/ingestion-pipeline";
import { type CheckResult, type Lifecycle, PartialFailure, type Properties } from "./lifecycle/lifecycle";
import { publication } from "./lifecycle/publication";
import { replicationSlot } from "./lifecycle/replication-slot";
import { withoutSecretValue } from "./lifecycle/secret-failure";

export type Kind = "Connection" | "Publication" | "ReplicationSlot" | "Gateway" | "IngestionPipeline";
export type Method = keyof Lifecycle;

const lifecycles: Record<Kind, Lifecycle> = {
  Connection: connection,
  Publication: publication,
  ReplicationSlot: replicationSlot,
  Gateway: gatewayLifecycle(deploymentOf),
  IngestionPipeline: ingestionPipelineLifecycle(deploymentOf),
};

/**
 * The entry that provider code stored in states calls, years later perhaps: its name, its path in the package and its
 * parameters stay, and so do the kinds. `args` are those of Pulumi's `dynamic.ResourceProvider`, in its order.
 * @throws Error with the remedy in its message
 */
export async function dispatch(kind: string, method: string, args: readonly unknown[]): Promise<unknown> {
  const lifecycle = Object.hasOwn(lifecycles, kind) ? lifecycles[kind as Kind] : undefined;
  if (lifecycle === undefined) {
    throw new Error(
      `this version of pulumi-sluice knows no resource ${kind}\n  remedy: Install the version that made this stack, or a newer one.`,
    );
  }
  try {
    return sanitize(await call(lifecycle, method as Method, args.map(withoutEngineKeys)));
  } catch (error) {
    throw new EngineError(error, method === "update" ? args[2] : args[0]);
  }
}

/**
 * What the engine is told. By `id` it takes a failed create or update for half-made, and keeps `properties`: also the
 * provider's own code, without which a delete could not run.
 */
export class EngineError extends Error {
  declare readonly id?: string;
  declare readonly properties?: unknown;
  declare readonly reasons?: string[];

  constructor(error: unknown, inputs: unknown) {
    super(withId(error));
    if (!(error instanceof PartialFailure)) return;
    const { __provider } = inputs as Properties;
    this.id = error.id;
    this.properties = { ...(sanitize(error.outs) as Properties), __provider };
    this.reasons = [withId(error)];
  }
}

/** By the id docs/errors.md tells what it means. */
function withId(error: unknown): string {
  return `${describeError(error)}\n  error: ${error instanceof SluiceError ? error.kind : "internal"}`;
}

function call(lifecycle: Lifecycle, method: Method, args: readonly unknown[]): unknown {
  const text = (index: number) => args[index] as string;
  const properties = (index: number) => (args[index] ?? {}) as Properties;
  switch (method) {
    case "check":
      return check(lifecycle, properties(0), properties(1));
    case "diff":
      return lifecycle.diff(text(0), properties(1), properties(2));
    case "create":
      return lifecycle.create(properties(0));
    case "read":
      return lifecycle.read(text(0), properties(1));
    case "update":
      return lifecycle.update(text(0), properties(1), properties(2));
    case "delete":
      return remove(lifecycle, text(0), properties(1));
  }
}

async function check(lifecycle: Lifecycle, olds: Properties, news: Properties): Promise<CheckResult> {
  const { inputs, failures } = await lifecycle.check(olds, news);
  return { inputs, failures: failures.map((failure) => withoutSecretValue(failure, news)) };
}

/** By `forceDelete`, or SLUICE_FORCE_DELETE=true for a stack that can't be updated any more, a failed delete is told and over. */
async function remove(lifecycle: Lifecycle, id: string, props: Properties): Promise<void> {
  try {
    await lifecycle.delete(id, props);
  } catch (error) {
    if (props.forceDelete !== true && process.env.SLUICE_FORCE_DELETE !== "true") throw error;
    console.log(`warning: ${id} is forgotten (forceDelete), and may be left as it is: ${describeError(error)}`);
  }
}

/** `__provider` and the like are the engine's. */
function withoutEngineKeys(value: unknown): unknown {
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.entries(value).filter(([key]) => !key.startsWith("__")));
}

/** An `undefined` anywhere in a result fails the engine after the work is done. */
function sanitize(value: unknown): unknown {
  return value === undefined ? undefined : (JSON.parse(JSON.stringify(value)) as unknown);
}
