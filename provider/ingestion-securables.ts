import * as pulumi from "@pulumi/pulumi";
import { SluiceError } from "../runtime/errors";
import { knownNow } from "./databricks/known-inputs";
import { databricksPackage } from "./databricks/package";
import { furtherSchemas, type GivenTables } from "./databricks/table-schemas";
import { DatabricksSecurables, type SecurablesArgs } from "./databricks-securables";
import type { Writer } from "./destination";
import type { ManagedDestinationArgs, ManagedPipelines } from "./managed-pipelines";
import type { PostgresIngestionArgs } from "./postgres-ingestion";
import { programError } from "./program-error";
import type { Source } from "./source";
import type { StagingArgs } from "./staging";

type Args = Partial<Pick<PostgresIngestionArgs, "securables" | "gateway" | "tables" | "schemas" | "tableOptions">> &
  Pick<PostgresIngestionArgs, "source">;

/** What an ingestion's `securables` ask for, out of the names that its destination and staging have. */
export function declareSecurables(
  component: pulumi.Resource,
  name: string,
  args: Args,
  writer: Writer,
): DatabricksSecurables | undefined {
  const { securables } = args;
  if (securables === undefined) return undefined;
  try {
    const places = placesOf(args, writer);
    const { tables, schemas: given, tableOptions } = args;
    const isGranted = securables.principal !== undefined || securables.readers !== undefined;
    const schemas = isGranted
      ? furtherSchemas(knownNow({ tables, schemas: given, tableOptions }) as GivenTables, places.schema)
      : [];
    const settings = { ...places, schemas, ...securables, password: passwordOf(args.source) };
    return new DatabricksSecurables(name, settings, { parent: component });
  } catch (error) {
    if (!(error instanceof SluiceError)) throw error;
    throw programError(component, error);
  }
}

/** The vendor's connection is made with its pipelines: whoever runs them may use it. */
export function grantConnection(
  name: string,
  { principal }: SecurablesArgs,
  managed: ManagedPipelines,
  parent: pulumi.Resource,
): void {
  if (principal === undefined) return;
  const { Grant } = databricksPackage();
  new Grant(
    `${name}/${principal}/connection`,
    { foreignConnection: managed.connectionName, principal, privileges: ["USE_CONNECTION"] },
    { parent, dependsOn: [managed] },
  );
}

/** The gateway stages in a volume once it is there. */
export function withVolume<T extends Pick<PostgresIngestionArgs, "gateway">>(
  args: T,
  made: DatabricksSecurables | undefined,
): T {
  if (made?.volume === undefined) return args;
  const staging = made.volume.apply((volume) => ({ ...(args.gateway?.staging as StagingArgs), volume }) as StagingArgs);
  return { ...args, gateway: { ...args.gateway, staging } };
}

/** The managed destination with the policy that was made. */
export function withPolicy(
  destination: ManagedDestinationArgs,
  made: DatabricksSecurables | undefined,
): ManagedDestinationArgs {
  if (made?.policyId === undefined) return destination;
  return { ...destination, gateway: { policyId: made.policyId, ...destination.gateway } };
}

function placesOf(args: Args, writer: Writer) {
  const destination = writer.destination as { kind?: unknown; catalog?: unknown; schema?: unknown; staging?: object };
  if (destination.kind !== "databricks") {
    throw new SluiceError("config", "securables are for a destination on Databricks, given in plain", {
      remedy: 'Leave securables out, or give destination: { kind: "databricks", … } as an object.',
    });
  }
  const catalog = plain(destination.catalog, "destination.catalog") as string;
  const schema = plain(destination.schema, "destination.schema");
  if (writer.by === "managed") {
    const given = (destination.staging ?? {}) as { catalog?: unknown; schema?: unknown };
    const stagingSchema = plain(given.schema, "destination.staging.schema") ?? schema;
    const stagingCatalog = plain(given.catalog, "destination.staging.catalog") ?? catalog;
    const staging = stagingSchema === undefined ? undefined : { catalog: stagingCatalog, schema: stagingSchema };
    return { mode: "managed" as const, catalog, schema, staging };
  }
  const staging = args.gateway?.staging as { kind?: unknown; volume?: unknown } | undefined;
  const volume = staging?.kind === "volume" ? plain(staging.volume, "gateway.staging.volume") : undefined;
  return { mode: writer.by === "pipeline" ? ("pipeline" as const) : ("warehouse" as const), catalog, schema, volume };
}

function plain(name: unknown, input: string): string | undefined {
  if (name === undefined || typeof name === "string") return name;
  throw new SluiceError("config", `with securables ${input} is a text in plain, as it decides which grants there are`, {
    remedy: `Give ${input} as a text, or leave securables out.`,
  });
}

const passwordOf = (source: PostgresIngestionArgs["source"]) =>
  (pulumi.output(source) as pulumi.Output<Source>).apply(({ password }) => password);
