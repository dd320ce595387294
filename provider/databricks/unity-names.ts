import { z } from "zod";

/**
 * A name of Unity Catalog, in lower case as the catalog keeps it: else each preview would find another one.
 * https://docs.databricks.com/sql/language-manual/sql-ref-names.html
 */
export const unityNameSchema = z
  .string()
  .min(1, { error: "a name has at least one character" })
  .max(255, { error: "a name of Unity Catalog has at most 255 characters" })
  .refine((name) => isUnityName(name), {
    error:
      "a name of Unity Catalog has no dot, slash, space or control character\n  remedy: Give one without; of a table by tableOptions: destination.",
  })
  .transform((name) => name.toLowerCase());

/** Pure. */
export function isUnityName(name: string): boolean {
  return name !== "" && name.length <= 255 && !/[./\s\p{Cc}]/u.test(name);
}

/** Pure: parts of a name of ours, as `shop-dev-orders`, for an object of Unity Catalog: `shop_dev_orders`. */
export function unityNameOf(...parts: string[]): string {
  return parts
    .join("_")
    .toLowerCase()
    .replaceAll(/[^a-z0-9_]+/g, "_")
    .slice(0, 255);
}
