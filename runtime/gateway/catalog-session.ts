import { setTimeout as delay } from "node:timers/promises";
import type { Client } from "pg";
import type { GatewayConfig } from "../config";
import { describeError, isTransient } from "../errors";
import { log } from "../operate/log";
import { toSourceError } from "../postgres/source-error";
import type { SourceServers } from "./source-servers";

/** admin_shutdown, crash_shutdown, cannot_connect_now (PostgreSQL documentation, appendix A) */
const shutdownStates = new Set(["57P01", "57P02", "57P03"]);
const waitMsMax = 10_000;

/** A session for looks at the catalog: made when it is first used, and again after it is lost. One use at a time. */
export class CatalogSession {
  private client: Client | null = null;
  private last: Promise<unknown> = Promise.resolve();

  constructor(
    private readonly config: GatewayConfig,
    private readonly servers: SourceServers,
    private readonly signal: AbortSignal,
  ) {}

  /**
   * Waits out transient troubles of the source while `isWanted`, but for `waitMsMax` only, and not a server that shuts
   * down: it waits for the stream to confirm what it has sent, and the stream, held, would wait for the server.
   * @throws SluiceError when the source refuses, or nobody wants the answer any more
   */
  read<T>(what: string, look: (client: Client) => Promise<T>, isWanted: () => boolean): Promise<T> {
    const result = this.last.then(() => this.attempt(what, look, isWanted));
    this.last = result.catch(() => {});
    return result;
  }

  private async attempt<T>(what: string, look: (client: Client) => Promise<T>, isWanted: () => boolean): Promise<T> {
    const deadlineMs = Date.now() + waitMsMax;
    for (let delayMs = 50; ; delayMs = Math.min(delayMs * 2, 5_000)) {
      try {
        this.client ??= await this.servers.connect({
          applicationName: `sluice ${this.config.id} catalog`,
          statementTimeoutMs: 30_000,
        });
        return await look(this.client);
      } catch (thrown) {
        const error = toSourceError(thrown, what, this.config.source);
        await this.client?.end().catch(() => {});
        this.client = null;
        const isOver = !isWanted() || this.signal.aborted || Date.now() + delayMs > deadlineMs;
        if (isOver || !isTransient(error.kind) || shutdownStates.has(error.sqlState ?? "")) throw error;
        log("warning", "catalog-unread", { doing: what, error: describeError(error), retryMs: delayMs });
        await delay(delayMs, undefined, { signal: this.signal }).catch(() => {});
      }
    }
  }

  async close(): Promise<void> {
    await this.last;
    await this.client?.end().catch(() => {});
    this.client = null;
  }
}
