import { setTimeout as pause } from "node:timers/promises";
import type { SourceConfig } from "../../runtime/config";
import { describeError, SluiceError } from "../../runtime/errors";
import { type Lsn, maxLsn, parseLsn } from "../../runtime/postgres/lsn";
import type { GatewayStatus } from "../../runtime/status";
import type { Deployment, ProcessSpec } from "../deploy/deployment";
import { withAdmin } from "../postgres/admin-session";

/** How long a gateway that takes over from another one may take until it has caught up, by default: a day. */
export const switchTimeoutMsDefault = 86_400_000;

const lookMs = 200;
/** How often progress is printed while it changes. */
const tellMs = 10_000;

/** How far a gateway is on its way to take over. */
export type SwitchProgress =
  | { kind: "copying"; done: number; tables: number; rows: number; rowsEstimate: number }
  /** all tables are copied, and what was written until then isn't staged yet */
  | { kind: "catching-up" }
  | { kind: "caught-up" };

/** Pure. `targetLsn`: what the source had written when all tables were first seen copied; null before. */
export function switchProgress(status: GatewayStatus, targetLsn: Lsn | null): SwitchProgress {
  const { tables } = status;
  // One that can't be copied was as wrong before: it holds up none of the others.
  const isDone = (kind: string) => kind === "streaming" || kind === "failed";
  const done = tables.filter(({ state }) => isDone(state.kind)).length;
  if (status.slot === null || tables.length === 0 || done < tables.length) {
    const rows = (one: (typeof tables)[number]) => (one.state.kind === "snapshot" ? one.state.rows : one.snapshotRows);
    const estimate = (one: (typeof tables)[number]) =>
      one.state.kind === "snapshot" ? Math.max(one.state.rowsEstimate, one.state.rows) : one.snapshotRows;
    const sum = (of: typeof rows) => tables.reduce((total, one) => total + of(one), 0);
    return { kind: "copying", done, tables: tables.length, rows: sum(rows), rowsEstimate: sum(estimate) };
  }
  if (targetLsn === null) return { kind: "catching-up" };
  const reached = maxLsn(parseLsn(status.stagedLsn), parseLsn(status.acknowledgedLsn));
  return { kind: reached >= targetLsn ? "caught-up" : "catching-up" };
}

function describeProgress(progress: SwitchProgress): string {
  switch (progress.kind) {
    case "copying": {
      const rows = progress.rows.toLocaleString("en-US");
      return `${progress.done} of ${progress.tables} tables are copied, ${rows} rows of about ${Math.round(progress.rowsEstimate).toLocaleString("en-US")}`;
    }
    case "catching-up":
      return "all tables are copied; it catches up with what was written meanwhile";
    case "caught-up":
      return "it has caught up: the pipeline is switched to it";
  }
}

/**
 * Waits until a gateway that runs beside the former one has copied every table, and staged all that was written until
 * then. Prints its progress.
 * @throws SluiceError `timeout`; `process` when it fails
 */
export async function awaitCaughtUp(
  deployment: Deployment,
  spec: ProcessSpec,
  source: SourceConfig,
  timeoutMs: number,
): Promise<void> {
  const label = `gateway ${spec.config.id}`;
  const deadlineMs = Date.now() + timeoutMs;
  let targetLsn: Lsn | null = null;
  let told = "";
  let tellAtMs = 0;
  for (;;) {
    const found = await deployment.inspect(spec.directory);
    if (found.kind === "failed" || found.kind === "absent") {
      const message = found.kind === "failed" ? found.message : `its folder ${spec.directory} is gone`;
      throw new SluiceError("process", `${label} can't take over: ${message}`, {
        remedy:
          (found.kind === "failed" ? found.remedy : undefined) ??
          `Correct what the gateway's log in ${spec.directory} says, then run pulumi up again.`,
      });
    }
    const status = (await deployment.status(spec.directory)) as GatewayStatus | null;
    const progress: SwitchProgress =
      status?.role === "gateway" && Array.isArray(status.tables)
        ? switchProgress(status, targetLsn)
        : { kind: "copying", done: 0, tables: 0, rows: 0, rowsEstimate: 0 };
    if (progress.kind === "catching-up" && targetLsn === null) targetLsn = await writtenLsn(source);
    const line = `${label}: ${describeProgress(progress)}`;
    if (line !== told && (Date.now() >= tellAtMs || progress.kind === "caught-up")) {
      console.log(line);
      told = line;
      tellAtMs = Date.now() + tellMs;
    }
    if (progress.kind === "caught-up") return;
    if (Date.now() > deadlineMs) {
      throw new SluiceError(
        "timeout",
        `${label} has not caught up within ${timeoutMs} ms: ${describeProgress(progress)}. The former gateway goes on, and so does this one`,
        { remedy: "Run pulumi up again: it goes on waiting. Or raise switchTimeoutMs." },
      );
    }
    await pause(lookMs);
  }
}

/** Where the source's WAL ends now, or what a standby has replayed of it. */
async function writtenLsn(source: SourceConfig): Promise<Lsn | null> {
  try {
    const { rows } = await withAdmin(source, "reading the WAL's end", (client) =>
      client.query<{ lsn: string }>(
        "SELECT CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_insert_lsn() END AS lsn",
      ),
    );
    return parseLsn(rows[0].lsn);
  } catch (error) {
    // A source that can't be reached for a moment: the gateway waits for it too, until the deadline.
    console.log(`warning: ${describeError(error)}`);
    return null;
  }
}
