import { bytesText } from "../../runtime/byte-text";
import type { Inventory, Owned } from "./slots";

/** Pure: slots and publications as lines for a terminal. */
export function slotTable({ slots, publications }: Inventory): string[] {
  return [
    ...aligned([
      ["SLOT", "DATABASE", "OWNER", "READ BY", "WAL", "KEPT", "RESTART LSN", "CONFIRMED LSN", "INACTIVE SINCE"],
      ...slots.map((slot) => [
        slot.name,
        slot.database ?? "-",
        ownerText(slot),
        slot.activePid === null ? "-" : `pid ${slot.activePid}`,
        slot.walStatus ?? "-",
        slot.retainedBytes === null ? "-" : bytesText(slot.retainedBytes),
        slot.restartLsn ?? "-",
        slot.confirmedLsn ?? "-",
        slot.inactiveSince ?? "-",
      ]),
    ]),
    "",
    ...aligned([
      ["PUBLICATION", "DATABASE", "OWNER", "TABLES"],
      ...publications.map((one) => [one.name, one.database, ownerText(one), String(one.tables)]),
    ]),
  ];
}

/** `urn:pulumi:<stack>::<project>::<types>::<name>` as project/stack. */
function stackText(urn: string): string {
  const [stack, project] = urn.replace(/^urn:pulumi:/, "").split("::");
  return `${project}/${stack}`;
}

function ownerText({ ownership, stack }: Owned): string {
  if (stack !== null) return `stack ${stackText(stack)}`;
  switch (ownership.kind) {
    case "marked":
      return "ours, unclaimed";
    case "named":
      return "by its name ours, unmarked";
    case "unseen":
      return "by its name ours, not looked at";
    case "foreign":
      return "foreign";
  }
}

function aligned(rows: readonly (readonly string[])[]): string[] {
  const widths = rows[0].map((_, column) => Math.max(...rows.map((row) => row[column].length)));
  return rows.map((row) =>
    row
      .map((cell, column) => cell.padEnd(widths[column]))
      .join("  ")
      .trimEnd(),
  );
}
