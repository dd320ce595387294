import { setTimeout as delay } from "node:timers/promises";
import type { ApplierConfig } from "../config";
import { describeError, SluiceError } from "../errors";
import { log } from "../operate/log";
import { RunHistory } from "../operate/run-history";
import { runPlaceOf } from "../operate/run-place";
import { startStatus } from "../operate/status-server";
import type { ObjectStore } from "../staging/object-store";
import { openStaging } from "../staging/open-staging";
import { readLogIdentity } from "../staging/staging-log";
import type { ApplierStatus, ProcessState } from "../status";
import { applierMetrics } from "./applier-metrics";
import { ApplierTables } from "./applier-tables";
import { type DestinationTables, openDestination } from "./destination-tables";
import { TableRuns } from "./table-runs";
import { applyByTrigger } from "./trigger-loop";

/** How long a request to a volume is tried again: what reads outside of a table's attempts gives up with it. */
const requestRetryMs = 120_000;
/** How often the log's beginning is looked for. */
const awaitLogMs = 500;
/** What is applied within it is one run of a table, where runs aren't triggered. */
const runSpanMs = 60_000;

export interface ApplierOptions {
  signal: AbortSignal;
  /** of the package, for status and history */
  version: string;
}

/**
 * Applies staged commits until `signal` aborts, or (trigger `once`) until it has what is staged at start. A table that
 * fails is told in the status, retried or quarantined; the others go on.
 * @throws SluiceError when nothing can go on, or (trigger `once`) when a table has failed
 */
export async function runApplier(config: ApplierConfig, options: ApplierOptions): Promise<void> {
  let state: ProcessState = { kind: "starting" };
  let logId: string | null = null;
  let tables: ApplierTables | null = null;
  const startedAt = new Date().toISOString();
  const document = (httpPort: number): ApplierStatus => ({
    role: "applier",
    id: config.id,
    version: options.version,
    pid: process.pid,
    startedAt,
    updatedAt: new Date().toISOString(),
    httpPort,
    state,
    logId,
    stagedSequence: tables?.stagedSequence ?? 0,
    appliedSequence: tables?.appliedSequence ?? 0,
    appliedLsn: tables?.appliedLsn ?? "0/0",
    nextRunAt: tables?.nextRunAtMs == null ? null : new Date(tables.nextRunAtMs).toISOString(),
    purge: { ...(tables?.purge.status ?? { records: 0, files: 0, tail: null, bytes: null, heldBy: null }) },
    tables: tables?.status() ?? [],
  });
  const status = await startStatus({
    path: config.statusPath,
    httpPort: config.http.port,
    httpHost: config.http.host,
    document,
    metrics: () => applierMetrics(document(0)),
    healthy: () => state.kind === "running" || state.kind === "waiting",
  });
  const setState = (next: ProcessState) => {
    state = next;
    status.publish().catch(() => {});
  };
  let destination: DestinationTables | null = null;
  try {
    const store = await openStaging(config, { requestRetryMsMax: requestRetryMs, signal: options.signal });
    logId = await awaitLog(store, config, options.signal, setState);
    if (logId !== null) {
      destination = await openDestination(config, options);
      tables = await ApplierTables.open(store, logId, config.id, destination, {
        tables: config.tables,
        onRemove: config.onRemove,
        maintenance: config.maintenance,
        runs: new TableRuns(
          await RunHistory.open(await runPlaceOf(config, async () => store), config.runsKeptMax),
          config.trigger.kind === "continuous" ? runSpanMs : null,
        ),
        batchBytesMax: destination.batchBytesMax,
      });
      log("info", "applying", { staging: config.stagingPath, destination: destination.location });
      await applyByTrigger(tables, config.trigger, { signal: options.signal, setState });
      setState({ kind: "stopping" });
      await tables.close();
    }
    setState({ kind: "stopped" });
  } catch (thrown) {
    const error =
      thrown instanceof SluiceError ? thrown : new SluiceError("internal", describeError(thrown), { cause: thrown });
    state = { kind: "failed", errorKind: error.kind, message: error.message, remedy: error.remedy };
    throw error;
  } finally {
    await destination?.close();
    await status.close();
  }
}

/** The log's identity, as soon as a gateway has made it; null when there is nothing to wait for any more. */
async function awaitLog(
  store: ObjectStore,
  config: ApplierConfig,
  signal: AbortSignal,
  setState: (state: ProcessState) => void,
): Promise<string | null> {
  for (;;) {
    const logId = await readLogIdentity(store);
    if (logId !== null || signal.aborted || config.trigger.kind === "once") return logId;
    setState({ kind: "waiting", reason: `no gateway has written to ${config.stagingPath} yet` });
    await delay(awaitLogMs, undefined, { signal }).catch(() => {});
  }
}
