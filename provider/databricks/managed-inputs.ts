import { z } from "zod";
import { checkInputs } from "../lifecycle/input-check";
import type { CheckFailure, Properties } from "../lifecycle/lifecycle";
import { identifierSchema } from "../lifecycle/names";
import { publishedTablesSchema } from "../lifecycle/published-table-input";
import { tableOptionsInputSchema } from "../lifecycle/table-options";
import { containsUnknown } from "../lifecycle/unknown-value";
import { type ManagedTables, managedObstacles } from "./managed-objects";
import { unityNameSchema } from "./unity-names";

const text = z.string().min(1);

const gatewayShape = {
  /** default `<project>-<stack>-<name>-gateway`; unique in the workspace */
  name: text.optional(),
  policyId: text.optional(),
  nodeTypeId: text.optional(),
  driverNodeTypeId: text.optional(),
  workers: z.int().min(0).optional(),
  timeoutMs: z.int().min(60_000).default(2_700_000),
};

const ingestionShape = {
  name: text.optional(),
  tags: z.record(z.string(), z.string()).optional(),
  notifications: z
    .strictObject({
      emailRecipients: z.array(text).min(1),
      alerts: z
        .array(z.enum(["on-update-success", "on-update-failure", "on-update-fatal-failure", "on-flow-failure"]))
        .min(1),
    })
    .optional(),
};

/** Quartz has six fields, or seven with the year. */
export const quartzSchema = z
  .string()
  .refine((cron) => [6, 7].includes(cron.trim().split(/\s+/).length), {
    error:
      'a quartzCron has six fields, with seconds in front\n  remedy: Every 15 minutes is "0 0/15 * * * ?"; one of the day fields is a question mark.',
  })
  .transform((cron) => cron.trim());

const destinationSchema = z
  .strictObject({
    kind: z.literal("databricks"),
    mode: z.literal("managed"),
    catalog: unityNameSchema,
    /** default: of each table the name of its schema at the source */
    schema: unityNameSchema.optional(),
    tableMode: z.enum(["scd1", "scd2"]).default("scd1"),
    staging: z
      .strictObject({
        catalog: unityNameSchema.optional(),
        schema: unityNameSchema.optional(),
        name: unityNameSchema.optional(),
      })
      .default({}),
    connection: z
      .union(
        [
          unityNameSchema,
          z.strictObject({
            name: unityNameSchema.optional(),
            host: text.optional(),
            port: z.int().min(1).max(65535).optional(),
          }),
        ],
        { error: "a connection is the name of one that is there, or { name, host, port } of the one that is made" },
      )
      .default({}),
    gateway: z.strictObject(gatewayShape).prefault({}),
    ingestion: z.strictObject(ingestionShape).prefault({}),
    schedule: z
      .strictObject({ quartzCron: quartzSchema, timeZone: text.default("UTC"), paused: z.boolean().default(false) })
      .optional(),
    protectTables: z.boolean().default(true),
  })
  .superRefine((destination, context) => {
    if (destination.schema !== undefined || destination.staging.schema !== undefined) return;
    context.addIssue({
      code: "custom",
      path: ["staging", "schema"],
      message:
        "where the gateway keeps what it has read isn't said\n  remedy: Give staging.schema, or one schema for all tables.",
    });
  });

export type ManagedDestination = z.infer<typeof destinationSchema>;

export const managedShape = {
  tables: publishedTablesSchema.optional(),
  schemas: z.array(identifierSchema).optional(),
  tableOptions: tableOptionsInputSchema,
  destination: destinationSchema,
};

/** Pure. Unknown values pass; what is wrong with the others is told, each by its input. */
export function checkManagedInputs(news: Properties): { inputs: Properties; failures: CheckFailure[] } {
  const { inputs, failures } = checkInputs(managedShape, news);
  const { destination, ...tables } = inputs;
  if (failures.length === 0 && !containsUnknown([tables, destination])) {
    failures.push(...managedObstacles(inputs as unknown as ManagedTables));
  }
  return { inputs, failures };
}
