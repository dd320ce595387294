import type { Client } from "pg";
import { compareTable, describeDifference, type Equality } from "../support/equality";
import type { DemoLake } from "./demo-lake";
import type { Screen } from "./screen";

/** Compares each table with the lake's, value by value, and tells. */
export async function proveEqual(
  client: Client,
  lake: DemoLake,
  tables: readonly string[],
  screen: Screen,
): Promise<Map<string, Equality>> {
  const results = new Map<string, Equality>();
  for (const table of [...tables].sort()) {
    const startedMs = Date.now();
    const destination = await lake.open(table);
    const result = await compareTable(client, { schema: "public", name: table }, destination);
    results.set(table, result);
    const seconds = ((Date.now() - startedMs) / 1_000).toFixed(1);
    const rows = result.rows.toLocaleString("en").padStart(11);
    if (result.equal) {
      screen.line(`${table.padEnd(10)} ${rows} rows equal  (${destination.told}, ${seconds} s)`);
      continue;
    }
    screen.line(`${table.padEnd(10)} ${rows} rows, ${result.differing.toLocaleString("en")} DIFFER`);
    for (const difference of result.differences.slice(0, 5)) screen.line(`  ${describeDifference(difference)}`);
  }
  return results;
}
