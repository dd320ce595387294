import type { TableMoment } from "./table-moment";
import type { TableOrigin, TableSchema } from "./table-schema";

/**
 * Of a description of a later moment only what hasn't changed since what is known is true of this moment too. With
 * `followWidening` a column's definition that isn't by a younger transaction than the one that is streamed is taken for
 * older than it, so that a followed rewrite doesn't make every later one suspect.
 */
export function originOf(known: TableSchema, moment: TableMoment, followWidening: boolean): TableOrigin {
  const { table, exact } = moment;
  const before = known.origin;
  const numbers = moment.columns.map(({ attribute }) => attribute.number);
  const kept = <T>(old: T | null | undefined, now: T | null): T | null => (exact || old === now ? now : null);
  const keepsBytes = exact || (before !== undefined && before.fileNode === table.fileNode);
  const columnXids: Record<string, number> = {};
  for (const { attribute } of moment.columns) {
    const key = String(attribute.number);
    const isOlder = followWidening && ((moment.xid - attribute.xid) | 0) >= 0;
    if (keepsBytes || isOlder || before?.columnXids[key] === attribute.xid) columnXids[key] = attribute.xid;
  }
  const allKnown = Object.keys(columnXids).length === numbers.length;
  return {
    fileNode: keepsBytes || (followWidening && allKnown) ? table.fileNode : null,
    primaryKeyOid: kept(before?.primaryKeyOid, table.primaryKeyOid),
    attributeCount: exact ? table.attributeCount : Math.max(before?.attributeCount ?? 0, ...numbers),
    columnXids,
    ddlCapture: kept(before?.ddlCapture, table.ddlCapture),
  };
}

export function sameOrigin(a: TableOrigin | undefined, b: TableOrigin): boolean {
  return (
    a !== undefined &&
    a.fileNode === b.fileNode &&
    a.primaryKeyOid === b.primaryKeyOid &&
    a.attributeCount === b.attributeCount &&
    a.ddlCapture === b.ddlCapture &&
    JSON.stringify(Object.entries(a.columnXids).sort()) === JSON.stringify(Object.entries(b.columnXids).sort())
  );
}
