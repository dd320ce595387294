import type { Client } from "pg";

/**
 * Settings of every session of ours, walsender and COPY alike: whatever the server, database or role is set to, a value
 * has one text form, and no long copy is ended (PostgreSQL documentation, sections 19.11 and 9.8). A setting of the
 * startup packet stands above those of server, database and role (section 19.1).
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
  quote_all_identifiers: "off",
  standard_conforming_strings: "on",
  // A policy that would hide rows is an error, not a smaller table.
  row_security: "off",
  statement_timeout: "0",
  lock_timeout: "0",
  idle_in_transaction_session_timeout: "0",
  idle_session_timeout: "0",
};

/** The settings as the `options` startup parameter. */
export function sessionOptions(settings: Readonly<Record<string, string>> = pinnedSessionSettings): string {
  return Object.entries(settings)
    .map(([name, value]) => `-c ${name}=${value.replace(/[\\ ]/g, "\\$&")}`)
    .join(" ");
}

/**
 * As above for a setting that not every server has (one that is unknown can't be in the startup packet), and for
 * lc_monetary where the startup packet leaves it out, so that RESET gives the database's.
 */
export async function pinSession(client: Pick<Client, "query">): Promise<void> {
  await client.query(
    `SELECT pg_catalog.set_config(name, CASE name WHEN 'lc_monetary' THEN '${pinnedSessionSettings.lc_monetary}' ELSE '0' END, false)
       FROM pg_catalog.pg_settings WHERE name IN ('transaction_timeout', 'lc_monetary')`,
  );
}
