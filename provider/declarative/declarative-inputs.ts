import { z } from "zod";
import { type TableOptions, tableOptionsShape } from "../../runtime/table-options";
import { quartzSchema } from "../databricks/managed-inputs";
import { unityNameSchema } from "../databricks/unity-names";
import { checkInputs } from "../lifecycle/input-check";
import type { CheckFailure, Properties } from "../lifecycle/lifecycle";
import { namesOf, publishedTablesSchema } from "../lifecycle/published-table-input";
import { tableNameSchema } from "../lifecycle/table-name";
import { namedOptions, tableOptionsInputSchema } from "../lifecycle/table-options";
import { containsUnknown } from "../lifecycle/unknown-value";
import { type Expectation, type PipelineTable, pipelineObstacles } from "./pipeline-source";

const text = z.string().min(1);

const destinationSchema = z.strictObject({
  kind: z.literal("databricks"),
  mode: z.literal("pipeline"),
  catalog: unityNameSchema,
  schema: unityNameSchema,
  /** default `<project>-<stack>-<name>`; unique in the workspace */
  name: text.optional(),
  /** default `/Workspace/Shared/sluice/<name>` */
  folder: z
    .string()
    .regex(/^\/(Workspace\/)?(Shared|Users|Repos)\/.+[^/]$/, "a folder of the workspace begins with /Shared or /Users")
    .optional(),
  continuous: z.boolean().default(false),
  schedule: z
    .strictObject({ quartzCron: quartzSchema, timeZone: text.default("UTC"), paused: z.boolean().default(false) })
    .optional(),
  expectations: z
    .array(
      z.strictObject({
        table: tableNameSchema,
        name: text,
        condition: text,
        action: z.enum(["warn", "drop", "fail"]).default("warn"),
      }),
    )
    .default([]),
  notifications: z.strictObject({ emailRecipients: z.array(text).min(1), alerts: z.array(text).min(1) }).optional(),
  tags: z.record(z.string(), z.string()).optional(),
});
export type DeclarativeDestination = z.infer<typeof destinationSchema>;

export interface DeclarativeInputs {
  tables: PipelineTable[];
  destination: DeclarativeDestination;
}

const shape = { tables: publishedTablesSchema, tableOptions: tableOptionsInputSchema, destination: destinationSchema };

/** Pure. Unknown values pass; what is wrong with the others is told, each by its input. */
export function checkDeclarativeInputs(news: Properties): { inputs: Properties; failures: CheckFailure[] } {
  const { inputs, failures } = checkInputs(shape, news);
  if (failures.length > 0 || containsUnknown(inputs)) return { inputs, failures };
  const destination = inputs.destination as DeclarativeDestination;
  if (destination.continuous && destination.schedule !== undefined) {
    failures.push({
      property: "destination.schedule",
      reason: "a pipeline that runs for good has no schedule\n  remedy: Leave out schedule or continuous.",
    });
  }
  for (const { property, reason, remedy } of pipelineTables(inputs).flatMap(pipelineObstacles)) {
    failures.push({ property: `tableOptions.${property}`, reason: `${reason}\n  remedy: ${remedy}` });
  }
  return { inputs, failures };
}

/** Pure: the tables of checked inputs with what is said of them. */
export function pipelineTables(inputs: Properties): PipelineTable[] {
  const options = namedOptions(inputs.tableOptions);
  const { expectations } = inputs.destination as { expectations: (Expectation & { table: PipelineTable })[] };
  return namesOf(inputs.tables).map(({ schema, name }): PipelineTable => {
    const isThis = (each: { schema: string; name: string }) => each.schema === schema && each.name === name;
    const { schema: _schema, name: _name, ...given } = options.find(isThis) ?? { schema, name };
    return {
      schema,
      name,
      options: z.strictObject(tableOptionsShape).parse(given) as TableOptions,
      expectations: expectations.filter(({ table }) => isThis(table)),
    };
  });
}
