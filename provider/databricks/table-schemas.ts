import { SluiceError } from "../../runtime/errors";
import { containsUnknown } from "../lifecycle/unknown-value";

/** As programs give them; what is known later is the unknown value. */
export interface GivenTables {
  tables?: unknown;
  schemas?: unknown;
  tableOptions?: unknown;
}

/**
 * Pure: the schemas that tables are written to beside the destination's own, each once.
 * @param schema the destination's; undefined where each table has that of the source
 * @throws SluiceError `config` where it depends on what isn't known yet
 */
export function furtherSchemas({ tables, schemas, tableOptions }: GivenTables, schema: string | undefined): string[] {
  const asked = schema === undefined ? { tables, schemas, tableOptions } : { tableOptions };
  for (const [input, value] of Object.entries(asked)) {
    if (!containsUnknown(value)) continue;
    throw new SluiceError("config", `${input} is known only later, and decides which schemas are granted on`, {
      remedy: `Give ${input} in plain, or grant by yourself: leave securables.principal and readers out.`,
    });
  }
  const places = new Map<string, string>();
  for (const option of list(tableOptions)) {
    const place = (option as { destination?: { schema?: string } }).destination?.schema;
    if (place !== undefined) places.set(keyOf((option as { table: unknown }).table), place);
  }
  const found = new Set(places.values());
  if (schema === undefined) {
    for (const table of list(tables)) {
      const key = keyOf(table);
      if (!places.has(key)) found.add(schemaOf(key));
    }
    for (const each of list(schemas)) found.add(each as string);
  }
  return [...new Set([...found].map((each) => each.toLowerCase()))].filter((each) => each !== schema?.toLowerCase());
}

const list = (value: unknown): unknown[] => (Array.isArray(value) ? value : []);

const separator = "\u0000";

/** Of `"schema.name"`, `{ schema, name }` or `{ table }`; other shapes are refused where tables are checked. */
function keyOf(table: unknown): string {
  if (typeof table === "string") return table.replace(".", separator);
  const { table: inner, schema, name } = table as { table?: unknown; schema?: string; name?: string };
  return inner === undefined ? `${schema}${separator}${name}` : keyOf(inner);
}

const schemaOf = (key: string) => key.split(separator)[0];
