import { log } from "../operate/log";
import type { ObjectStore } from "../staging/object-store";
import { forgetResync, readResyncRequests } from "../staging/resync-request";
import { readCommit, readHead } from "../staging/staging-log";
import type { Capture } from "./capture";

/**
 * Sends tables back to be copied for which `sluice resync` asks. A request is kept until a record says that a newer
 * snapshot has begun: whatever is killed before follows it again, and nothing after does.
 */
export async function followResyncRequests(capture: Capture, store: ObjectStore): Promise<void> {
  const requests = await readResyncRequests(store);
  if (requests.length === 0) return;
  const head = await readHead(store);
  const staged = head === 0 ? {} : (await readCommit(store, head)).tables;
  for (const { tableId, snapshotId } of requests) {
    const known = staged[tableId];
    const table = capture.tables.get(Number(tableId));
    if (known === undefined || known.snapshotId !== snapshotId || table === undefined) {
      await forgetResync(store, tableId);
      continue;
    }
    // A snapshot that has begun since will soon be in a record.
    if (table.snapshotId !== snapshotId) continue;
    capture.atBoundary(() => {
      // One that waits for its next attempt needn't wait any more.
      if (table.capture.kind === "failed") table.retryAtMs = 0;
      if (table.capture.kind !== "capturing" || table.snapshotId !== snapshotId) return;
      const reason = "sluice resync asked for it";
      log("info", "table-copied-again", { table: `${table.schema}.${table.name}`, reason, source: "resync" });
      capture.sendBack(table, reason);
    });
  }
}
