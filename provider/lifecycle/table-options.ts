import { z } from "zod";
import { quoteTable } from "../../runtime/postgres/identifier";
import {
  type NamedTableOptions,
  type OnRemove,
  onRemoveOf,
  optionsOf,
  placeOf,
  tableOptionsListSchema,
  tableOptionsShape,
} from "../../runtime/table-options";
import { compareTables, type TableChange } from "../../runtime/table-options-change";
import type { TableName } from "../postgres/table-inspection";
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

/** What a change of a living pipeline's options does to its tables; another staging is a new snapshot of everything. */
function tableChanges(olds: Properties, inputs: Properties): TableChange[] {
  const isLiving = olds.stagingIncarnation !== undefined && olds.stagingIncarnation === inputs.stagingIncarnation;
  if (!isLiving || containsUnknown(inputs.tableOptions)) return [];
  // The options of a table that leaves may leave with it, or stay behind.
  const { tables } = inputs;
  const stays = Array.isArray(tables) && !containsUnknown(tables) ? new Set(tables.map(quoteTable)) : null;
  const ofThose = (given: unknown) =>
    namedOptions(given).filter((table) => stays === null || stays.has(quoteTable(table)));
  return compareTables(ofThose(olds.tableOptions), ofThose(inputs.tableOptions));
}

/** What rows of before can't follow fails the preview. */
export function refusedTableChanges(olds: Properties, inputs: Properties): CheckFailure[] {
  const remedy =
    'Take the change back, or give the table onChange: "refresh": it keeps what it holds until you run sluice resync, and then loses it.';
  return tableChanges(olds, inputs).flatMap(({ table, change, isAccepted }) => {
    if (change.kind !== "refresh" || isAccepted) return [];
    const reason = `table ${table.schema}.${table.name} needs a new snapshot: ${change.reason}\n  remedy: ${remedy}`;
    return [{ property: "tableOptions", reason }];
  });
}

/** What the preview says of tables that can follow, or may lose what they hold. */
export function followedTableChanges(olds: Properties, inputs: Properties): string[] {
  return tableChanges(olds, inputs).flatMap((each) => describeFollowed(each) ?? []);
}

function describeFollowed({ table, change, isAccepted }: TableChange): string | null {
  const label = `${table.schema}.${table.name}`;
  switch (change.kind) {
    case "none":
      return null;
    case "in-place":
      return `table ${label} changes in place, with its next change: ${change.options.join(", ")}`;
    case "refresh":
      if (!isAccepted) return null;
      return `warning: table ${label}: ${change.reason}: it stays as it is until sluice resync --table ${label}, and then loses what it holds`;
  }
}

/** Pure: tables by name whose new options hold from a new snapshot on (`onChange: "refresh"`). */
export function refreshedTables(olds: Properties, inputs: Properties): string[] {
  return tableChanges(olds, inputs).flatMap(({ table, change }) =>
    change.kind === "refresh" ? [quoteTable(table)] : [],
  );
}

/** What the preview says of tables that leave a living pipeline's publication. */
export function leavingTables(olds: Properties, inputs: Properties): string[] {
  const { tables: before, stagingIncarnation } = olds;
  const { tables: after, onRemove, tableOptions } = inputs;
  if (!Array.isArray(before) || !Array.isArray(after) || stagingIncarnation !== inputs.stagingIncarnation) return [];
  if (containsUnknown(before) || containsUnknown(after) || containsUnknown(tableOptions)) return [];
  const stays = new Set((after as TableName[]).map(quoteTable));
  const gone = (before as TableName[]).filter((table) => !stays.has(quoteTable(table)));
  return gone.map((table) => {
    const stored = optionsOf(namedOptions(olds.tableOptions), table);
    const what = onRemoveOf(namedOptions(tableOptions), table, stored, onRemove as OnRemove);
    const place = quoteTable(placeOf(table, stored));
    return what === "keep"
      ? `table ${quoteTable(table)} leaves: its Delta table ${place} stays as it is (onRemove: "keep")`
      : `warning: table ${quoteTable(table)} leaves: its Delta table ${place} is dropped (onRemove: "drop")`;
  });
}
