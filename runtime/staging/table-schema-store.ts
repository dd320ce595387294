import { isDeepStrictEqual } from "node:util";
import type { TableSchema } from "../change/table-schema";
import type { ObjectStore } from "./object-store";
import { schemaKey } from "./staged-commit";
import { readTableSchema } from "./staging-log";

/**
 * Makes a table's schema durable, before a record names it (invariant 2): under the number of the newest when nothing
 * has changed, else under the next that is free or holds the same, as after a crash between the two.
 * @param newestId number of the newest known schema, 0 when there is none
 */
export async function storeTableSchema(
  store: ObjectStore,
  schema: Omit<TableSchema, "schemaId">,
  newestId: number,
): Promise<TableSchema> {
  for (let schemaId = Math.max(newestId, 1); ; schemaId++) {
    const numbered = { ...schema, schemaId };
    if (
      schemaId > newestId &&
      (await store.putIfAbsent(schemaKey(schema.tableId, schemaId), JSON.stringify(numbered)))
    ) {
      return numbered;
    }
    const found = await readTableSchema(store, schema.tableId, schemaId);
    if (isDeepStrictEqual(found, numbered)) return found;
  }
}
