import { join } from "node:path";

/**
 * `<root>/<schema>/<table>`. Any legal identifier becomes one safe folder name: characters other than letters, digits,
 * `_`, `-`, `$` and inner dots and spaces become `~` and their UTF-8 bytes in hexadecimal, so that no name leaves the
 * folder, is hidden, or is a pattern to DuckDB. (Not percent signs: readers that take paths for URLs would decode them.)
 */
export function tablePath(root: string, table: { schema: string; name: string }): string {
  return join(root, folderName(table.schema), folderName(table.name));
}

export function folderName(identifier: string): string {
  return identifier.replaceAll(/^[. ]|^_(?=delta_log$)|[^\p{L}\p{N}_.$ -]|[. ]$/gu, encoded);
}

function encoded(character: string): string {
  return [...Buffer.from(character, "utf8")]
    .map((byte) => `~${byte.toString(16).toUpperCase().padStart(2, "0")}`)
    .join("");
}
