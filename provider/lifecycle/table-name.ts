import { z } from "zod";
import { identifierSchema } from "./names";
import { isUnknown } from "./unknown-value";

/** A table as programs name it: `"schema.name"`, or `{ schema, name }` where a name has a dot. */
export const tableNameSchema = z.preprocess(
  (value) => {
    if (typeof value !== "string" || isUnknown(value)) return value;
    const dot = value.indexOf(".");
    return dot < 0 ? value : { schema: value.slice(0, dot), name: value.slice(dot + 1) };
  },
  z.strictObject(
    { schema: identifierSchema, name: identifierSchema },
    { error: 'a table is { schema, name } or the text "schema.name"' },
  ),
);
