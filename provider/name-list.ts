/** The first of the names, and how many more there are. */
export function listNames(names: readonly string[], namedMax: number): string {
  const more = names.length > namedMax ? ` and ${names.length - namedMax} more` : "";
  return `${names.slice(0, namedMax).join(", ")}${more}`;
}
