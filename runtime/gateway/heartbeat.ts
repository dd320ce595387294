import type { Client } from "pg";
import { SluiceError } from "../errors";
import { log } from "../operate/log";
import type { Lsn } from "../postgres/lsn";
import { toSourceError } from "../postgres/source-error";

/** Prefix of our logical messages that carry nothing but their place in the WAL. */
export const heartbeatPrefix = "sluice.heartbeat";

/**
 * Writes a non-transactional logical message where nothing else moves the slot (PostgreSQL documentation, section
 * 9.28.6 `pg_logical_emit_message`): the server then finds a newer position to restart from, and a stream that is
 * silently stuck shows as lag.
 */
export class Heartbeat {
  sent = 0;
  private movedAtMs: number | null = null;
  private lastLsn: Lsn | null = null;
  private refused = false;

  /** @param intervalMs 0 is off */
  constructor(private readonly intervalMs: number) {}

  /** Pure but for what it remembers: true when nothing has been acknowledged or sent for the interval. */
  due(acknowledgedLsn: Lsn, nowMs: number): boolean {
    if (this.intervalMs === 0 || this.refused) return false;
    if (acknowledgedLsn !== this.lastLsn) {
      this.lastLsn = acknowledgedLsn;
      this.movedAtMs = nowMs;
    }
    if (this.movedAtMs === null || nowMs - this.movedAtMs < this.intervalMs) return false;
    this.movedAtMs = nowMs;
    return true;
  }

  async send(client: Client): Promise<void> {
    try {
      await client.query("SELECT pg_logical_emit_message(false, $1, '')", [heartbeatPrefix]);
      this.sent++;
    } catch (thrown) {
      const error = toSourceError(thrown, "sending a heartbeat");
      if (!(error instanceof SluiceError) || error.kind !== "permission") throw error;
      this.refused = true;
      log("warning", "heartbeat-refused", {
        error: error.message,
        remedy: "Run GRANT EXECUTE ON FUNCTION pg_logical_emit_message(boolean, text, text) TO the role.",
      });
    }
  }
}
