import { quoteTable } from "../../runtime/postgres/identifier";
import type { IdentityOption } from "./replica-identity";
import type { TableName } from "./table-inspection";

export const operations = ["insert", "update", "delete", "truncate"] as const;
export type Operation = (typeof operations)[number];

/** What is published of one table. */
export interface PublishedTable extends TableName {
  /** column list; without it all columns, those to come too */
  columns?: string[];
  /** row filter, an SQL expression; without it all rows */
  where?: string;
  /** default `auto` */
  replicaIdentity?: IdentityOption;
}

/** A publication as it is wanted (PostgreSQL documentation, CREATE PUBLICATION). */
export interface PublicationDefinition {
  tables: PublishedTable[];
  schemas: string[];
  allTables: boolean;
  operations: Operation[];
  viaPartitionRoot: boolean;
  /** from PostgreSQL 18 on */
  generatedColumns: "none" | "stored";
}

export type PublicationOptions = Pick<PublicationDefinition, "operations" | "viaPartitionRoot" | "generatedColumns">;

/** Pure: equal in what decides which columns are sent; their order means nothing. */
export function sameColumns(a: readonly string[] | undefined, b: readonly string[] | undefined): boolean {
  if (a === undefined || b === undefined) return a === b;
  const names = new Set(a);
  return names.size === new Set(b).size && b.every((name) => names.has(name));
}

export function sameOptions(a: PublicationOptions, b: PublicationOptions): boolean {
  return (
    sameColumns(a.operations, b.operations) &&
    a.viaPartitionRoot === b.viaPartitionRoot &&
    a.generatedColumns === b.generatedColumns
  );
}

export function sendsOldRows(wanted: Pick<PublicationDefinition, "operations">): boolean {
  return wanted.operations.includes("update") || wanted.operations.includes("delete");
}

/** By quoted name. */
export function byName<T extends TableName>(tables: readonly T[]): Map<string, T> {
  return new Map(tables.map((table) => [quoteTable(table), table]));
}
