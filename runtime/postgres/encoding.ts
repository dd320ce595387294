/**
 * Pure: why texts of a database with this server_encoding can't be carried, or null. Others than UTF8 are converted by the
 * server (PostgreSQL documentation, section 23.3.4); SQL_ASCII says nothing of what a byte above 127 means.
 */
export function encodingProblem(encoding: string): { message: string; remedy: string } | null {
  const isConverted = encoding !== "SQL_ASCII" && encoding !== "MULE_INTERNAL";
  if (isConverted) return null;
  return {
    message: `the database's encoding is ${encoding}: its texts can't be told as UTF-8`,
    remedy: "Dump it and restore it into a database made with CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0.",
  };
}
