import type { Client } from "pg";
import { quoteIdentifier } from "../../runtime/postgres/identifier";
import type { Finding } from "./preflight";

/** A transaction with an id, of any database: a slot is created only when all that were open have ended. */
export interface OpenTransaction {
  /** null for a prepared one */
  pid: number | null;
  /** of a prepared one */
  gid: string | null;
  user: string | null;
  database: string | null;
  application: string;
  /** null where our role may not see it */
  ageMs: number | null;
  /** its beginning; empty where our role may not see it, or for a prepared one */
  query: string;
}

/** Oldest first, at most `countMax`. Of other roles' sessions age and query need pg_read_all_stats. */
export async function readOpenTransactions(client: Client, countMax = 20): Promise<OpenTransaction[]> {
  const { rows } = await client.query<OpenTransaction>(
    `SELECT * FROM (
       SELECT pid, NULL::text AS gid, usename::text AS "user", datname::text AS database, application_name AS application,
              (extract(epoch FROM clock_timestamp() - xact_start) * 1000)::float8 AS "ageMs",
              CASE WHEN pg_has_role(usesysid, 'USAGE') OR pg_has_role('pg_read_all_stats', 'USAGE')
                   THEN left(query, 1000) ELSE '' END AS query
         FROM pg_catalog.pg_stat_activity WHERE backend_xid IS NOT NULL AND pid <> pg_backend_pid()
       UNION ALL
       SELECT NULL, gid, owner::text, database::text, '',
              (extract(epoch FROM clock_timestamp() - prepared) * 1000)::float8, ''
         FROM pg_catalog.pg_prepared_xacts) transactions
      ORDER BY "ageMs" DESC NULLS LAST LIMIT $1`,
    [countMax],
  );
  return rows.map((row) => ({ ...row, ageMs: row.ageMs === null ? null : Math.round(row.ageMs) }));
}

/** Comments, dollar-quoted and quoted literals, quoted identifiers (PostgreSQL documentation, section 4.1). */
const tokens =
  /--[^\n]*|\/\*[\s\S]*?(?:\*\/|$)|\$(\w*)\$[\s\S]*?(?:\$\1\$|$)|"(?:[^"]|"")*(?:"|$)|'(?:[^']|'')*(?:'|$)/g;

/**
 * Pure: the beginning of a statement in one line, without comments and without what its literals hold. It ends where it
 * can't be told what a literal is: at a backslash in one, and at a comment in a comment.
 */
export function queryHead(query: string, charactersMax = 80): string {
  let head = "";
  let end = 0;
  for (const match of query.matchAll(tokens)) {
    const [token] = match;
    head += query.slice(end, match.index);
    end = match.index + token.length;
    if (token.startsWith('"')) head += token;
    else if (token.startsWith("'") || token.startsWith("$")) head += "'…'";
    const isUnclear = token.startsWith("'") ? token.includes("\\") : token.lastIndexOf("/*") > 0;
    if (isUnclear) {
      end = query.length;
      break;
    }
  }
  const line = `${head}${query.slice(end)}`.replaceAll(/\s+/g, " ").trim();
  return line.length <= charactersMax ? line : `${line.slice(0, charactersMax)}…`;
}

/** Pure: which of them creating a slot would wait for, when they have been open for `ageMsMin`. */
export function findLongTransactions(
  transactions: readonly OpenTransaction[],
  { ageMsMin, user }: { ageMsMin: number; user: string },
): Finding[] {
  const findings = transactions
    .filter(({ ageMs }) => ageMs !== null && ageMs >= ageMsMin)
    .map((transaction): Finding => {
      const { pid, gid } = transaction;
      return {
        severity: "warning",
        property: "host",
        message: `creating a slot would wait for the end of ${describeTransaction(transaction)}`,
        remedy:
          pid === null
            ? `Connected to its database run COMMIT PREPARED or ROLLBACK PREPARED '${(gid ?? "").replaceAll("'", "''")}'.`
            : `End it in its application, or run SELECT pg_terminate_backend(${pid}).`,
      };
    });
  const hidden = transactions.filter(({ ageMs }) => ageMs === null).length;
  if (hidden === 0) return findings;
  findings.push({
    severity: "note",
    property: "user",
    message: `creating a slot waits for the end of ${hidden} ${hidden === 1 ? "transaction" : "transactions"} of other roles that are open now; role ${quoteIdentifier(user)} may not see for how long`,
    remedy: `Run GRANT pg_read_all_stats TO ${quoteIdentifier(user)} to be told.`,
  });
  return findings;
}

/** Pure: who it is, how old, and what it runs, as a part of a sentence. */
export function describeTransaction({ pid, gid, user, database, application, ageMs, query }: OpenTransaction): string {
  const who = pid === null ? `prepared transaction ${gid}` : `pid ${pid}`;
  const of = [
    user === null ? "" : `role ${user}`,
    database === null ? "" : `database ${database}`,
    application === "" ? "" : `application ${application}`,
  ].filter((part) => part !== "");
  const since = ageMs === null ? "" : `, open for ${Math.round(ageMs / 1_000)} s`;
  const head = queryHead(query);
  return `${who} (${of.join(", ")})${since}${head === "" ? "" : `: ${head}`}`;
}
