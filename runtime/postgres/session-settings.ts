/**
 * Settings of every session of ours whose values are read as text, walsender and COPY alike: whatever the server,
 * database or role is set to, a value has one text form (PostgreSQL documentation, sections 19.11 and 9.8).
 */
export const pinnedSessionSettings: Readonly<Record<string, string>> = {
  client_encoding: "UTF8",
  datestyle: "ISO",
  intervalstyle: "postgres",
  TimeZone: "UTC",
  extra_float_digits: "3",
  bytea_output: "hex",
  lc_monetary: "C",
  // Names of regclass and the like are shown as from here.
  search_path: "pg_catalog",
  // A policy that would hide rows is an error, not a smaller table.
  row_security: "off",
};

/** The settings as the `options` startup parameter. */
export function sessionOptions(settings: Readonly<Record<string, string>> = pinnedSessionSettings): string {
  return Object.entries(settings)
    .map(([name, value]) => `-c ${name}=${value.replace(/[\\ ]/g, "\\$&")}`)
    .join(" ");
}
