import type { Client } from "pg";
import { quoteIdentifier, quoteTable } from "../../runtime/postgres/identifier";
import { isLockNotAvailable, TableLockError } from "../../runtime/postgres/lock-timeout";
import type { TableName } from "./table-inspection";

/** What the old row of an update or delete holds (PostgreSQL documentation, ALTER TABLE, REPLICA IDENTITY). */
export type Identity = { kind: "default" } | { kind: "full" } | { kind: "nothing" } | { kind: "index"; index: string };

/** An identity that we changed, to be put back. */
export interface PreviousIdentity extends TableName {
  previous: Identity;
}

/** `auto`: by the rules of `decideIdentity`. */
export type IdentityOption = "auto" | "default" | "full" | { index: string };

/** What of a table decides about its identity. */
export interface IdentityFacts {
  identity: Identity;
  /** columns of the primary key, unless it is deferrable: such a one is no replica identity to PostgreSQL */
  primaryKey: string[];
  /** a value can be stored out of line, so that an update may not send it */
  toastable: boolean;
  /** unique indexes that can be an identity, by their columns */
  indexes: { name: string; columns: string[] }[];
  hasStoredGenerated: boolean;
  hasVirtualGenerated: boolean;
}

/** What is published of a table, as far as it decides about its identity. */
export interface IdentityNeeds {
  option: IdentityOption;
  /** whole old rows are wanted, whatever the keys */
  isFullWanted: boolean;
  /** the column list; null for all */
  columns: readonly string[] | null;
  /** columns of the row filter */
  filterColumns: readonly string[];
  /** updates or deletes are published */
  sendsOldRows: boolean;
  /** stored generated columns are published */
  sendsGenerated: boolean;
  /** server_version_num */
  version: number;
}

export type IdentityDecision =
  | { kind: "right" }
  | { kind: "set"; identity: Identity }
  /** the source would refuse its own updates and deletes, or they couldn't be followed */
  | { kind: "problem"; message: string; remedy: string };

const right: IdentityDecision = { kind: "right" };

/**
 * Pure. By `auto`: A. a primary key and nothing that could be stored out of line: DEFAULT; B. a primary key and such
 * values: FULL, since an unchanged one isn't sent otherwise, or DEFAULT where FULL can't be; C. no primary key, or a row
 * filter with columns beyond it: FULL. FULL is left where DEFAULT would do. What can't be: PostgreSQL documentation,
 * sections 29.4 and 29.5, and of generated columns from version 18 on.
 */
export function decideIdentity(facts: IdentityFacts, needs: IdentityNeeds): IdentityDecision {
  const key = facts.primaryKey;
  const missing = needs.columns === null ? [] : key.filter((column) => !needs.columns?.includes(column));
  if (missing.length > 0) {
    return problem(
      `its column list lacks ${names(missing)} of the primary key`,
      `Add ${names(missing)} to its columns.`,
    );
  }
  const refusal = needs.sendsOldRows ? fullRefusal(facts, needs) : null;
  const { option } = needs;
  if (option !== "auto" && option !== "full" && needs.isFullWanted) {
    return problem(
      "whole old rows are wanted of it (fullIdentity, beforeImage), and another replicaIdentity",
      'Leave one of them out, or set replicaIdentity: "full".',
    );
  }
  if (typeof option === "object") {
    const index = facts.indexes.find(({ name }) => name === option.index);
    if (index === undefined) {
      const usable = facts.indexes.map(({ name }) => name).join(", ");
      return problem(
        `it has no index ${quoteIdentifier(option.index)} that can be its replica identity`,
        `It must be unique, not partial, not deferrable, on columns that are NOT NULL${usable === "" ? "" : `: one of ${usable}`}.`,
      );
    }
    return settle(facts, needs, { kind: "index", index: index.name }, index.columns);
  }
  const full = (): IdentityDecision =>
    refusal === null
      ? settle(facts, needs, { kind: "full" }, null)
      : problem(
          `it needs REPLICA IDENTITY FULL, ${refusal}`,
          "Give it a primary key or replicaIdentity: { index } that holds the row filter's columns; or leave the filter, the column list, or the table out.",
        );
  if (option === "full" || needs.isFullWanted) return full();
  if (option === "default") {
    return key.length === 0 && needs.sendsOldRows
      ? problem("it has no primary key for REPLICA IDENTITY DEFAULT", 'Use replicaIdentity: "full" or { index }.')
      : settle(facts, needs, { kind: "default" }, key);
  }
  if (!needs.sendsOldRows) return right;
  const keySuffices = key.length > 0 && needs.filterColumns.every((column) => key.includes(column));
  if (keySuffices && (!facts.toastable || refusal !== null)) {
    const excess = facts.identity.kind === "full" && refusal === null;
    return excess ? right : settle(facts, needs, { kind: "default" }, key);
  }
  if (refusal !== null && facts.identity.kind === "index") {
    const { index: name } = facts.identity;
    const index = facts.indexes.find((one) => one.name === name);
    const kept = index === undefined ? null : settle(facts, needs, facts.identity, index.columns);
    if (kept?.kind === "right") return kept;
  }
  return full();
}

/** Why FULL can't be, as the end of a sentence; else null. */
function fullRefusal(facts: IdentityFacts, needs: IdentityNeeds): string | null {
  if (needs.columns !== null) return "which a column list excludes";
  if (needs.version < 180_000) return null;
  if (facts.hasVirtualGenerated) return "which its virtual generated columns exclude";
  if (facts.hasStoredGenerated && !needs.sendsGenerated) {
    return 'which its generated columns exclude unless they are published (generatedColumns: "stored")';
  }
  return null;
}

function settle(
  facts: IdentityFacts,
  needs: IdentityNeeds,
  identity: Identity,
  columns: readonly string[] | null,
): IdentityDecision {
  if (columns !== null && needs.sendsOldRows) {
    const outside = needs.filterColumns.filter((column) => !columns.includes(column));
    if (outside.length > 0) {
      return problem(
        `its row filter uses ${names(outside)}, which isn't in its replica identity: the source would refuse its own updates and deletes`,
        'Use replicaIdentity: "full", or { index } with these columns; or publish inserts only (operations).',
      );
    }
    const unlisted = needs.columns === null ? [] : columns.filter((column) => !needs.columns?.includes(column));
    if (unlisted.length > 0) {
      return problem(
        `its column list lacks ${names(unlisted)} of its replica identity: the source would refuse its own updates and deletes`,
        `Add ${names(unlisted)} to its columns.`,
      );
    }
  }
  if (identity.kind === "full" && needs.sendsOldRows) {
    const refusal = fullRefusal(facts, needs);
    if (refusal !== null) return problem(`it is to have REPLICA IDENTITY FULL, ${refusal}`, "Choose another identity.");
  }
  return sameIdentity(facts.identity, identity) ? right : { kind: "set", identity };
}

const problem = (message: string, remedy: string): IdentityDecision => ({ kind: "problem", message, remedy });
const names = (columns: readonly string[]) => columns.map(quoteIdentifier).join(", ");

export function sameIdentity(a: Identity, b: Identity): boolean {
  return a.kind === b.kind && (a.kind !== "index" || b.kind !== "index" || a.index === b.index);
}

/** @throws TableLockError when the table's lock was not to be had within the session's lock_timeout */
export async function setIdentity(client: Client, table: TableName, identity: Identity): Promise<void> {
  try {
    await client.query(`ALTER TABLE ${quoteTable(table)} REPLICA IDENTITY ${identityClause(identity)}`);
  } catch (error) {
    if (isLockNotAvailable(error)) throw new TableLockError(table, error);
    throw error;
  }
}

export function identityClause(identity: Identity): string {
  switch (identity.kind) {
    case "default":
      return "DEFAULT";
    case "full":
      return "FULL";
    case "nothing":
      return "NOTHING";
    case "index":
      return `USING INDEX ${quoteIdentifier(identity.index)}`;
  }
}
