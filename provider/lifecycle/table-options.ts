import { z } from "zod";
import {
  type NamedTableOptions,
  refusedChanges,
  tableOptionsListSchema,
  tableOptionsShape,
} from "../../runtime/table-options";
import type { CheckFailure, Properties } from "./lifecycle";
import { tableNameSchema } from "./table-name";
import { containsUnknown } from "./unknown-value";

/** Options as programs give them: the runtime's, with the table named as in a publication. */
export const tableOptionsInputSchema = z
  .array(z.strictObject({ table: tableNameSchema, ...tableOptionsShape }))
  .default([])
  .superRefine((given, context) => {
    if (containsUnknown(given)) return;
    const parsed = tableOptionsListSchema.safeParse(namedOptions(given));
    for (const { path, message } of parsed.error?.issues ?? []) {
      context.addIssue({ code: "custom", path: [...path], message });
    }
  });

/** As the runtime's configuration has them. */
export function namedOptions(given: unknown): NamedTableOptions[] {
  const list = (given ?? []) as ({ table: { schema: string; name: string } } & NamedTableOptions)[];
  return list.map(({ table, ...options }) => ({ ...options, schema: table.schema, name: table.name }));
}

/** What a living pipeline can't follow is told by the preview; another staging is a new snapshot of everything. */
export function refusedTableChanges(olds: Properties, inputs: Properties): CheckFailure[] {
  const isLiving = olds.stagingIncarnation !== undefined && olds.stagingIncarnation === inputs.stagingIncarnation;
  if (!isLiving || containsUnknown(inputs.tableOptions)) return [];
  const remedy =
    'Take the change back, or give the table onChange: "refresh": it keeps what it holds until you run sluice resync, and then loses it.';
  return refusedChanges(namedOptions(olds.tableOptions), namedOptions(inputs.tableOptions)).map((reason) => ({
    property: "tableOptions",
    reason: `${reason}\n  remedy: ${remedy}`,
  }));
}
