import type { GatewayConfig, SourceConfig } from "../config";
import { SluiceError } from "../errors";
import { readIdentity } from "../postgres/source-identity";
import type { ObjectStore } from "../staging/object-store";
import { readFollowedSource } from "./staging-state";

/** A standby that follows another server's promotion says so to nobody. */
const lookMs = 10_000;

/**
 * Finds that the standby that is read from was promoted, or follows a server that was. The stream goes on through either
 * without a word, and staging must know the new timeline before the server is restarted: until then the server itself is
 * the proof that nothing is missing between the two.
 */
export class TimelineWatch {
  private wasInRecovery = false;
  private lookedAtMs = 0;

  constructor(
    private readonly config: GatewayConfig,
    private readonly store: ObjectStore,
  ) {}

  /**
   * Call it at every look at the server.
   * @returns why the stream is to be made again, which looks at the server's history; else null
   */
  async look(source: SourceConfig, inRecovery: boolean, nowMs: number): Promise<SluiceError | null> {
    const isPromoted = this.wasInRecovery && !inRecovery;
    if (!isPromoted && (!inRecovery || nowMs - this.lookedAtMs < lookMs)) {
      this.wasInRecovery = inRecovery;
      return null;
    }
    const found = await readIdentity(source, `sluice ${this.config.id} identity`);
    const followed = await readFollowedSource(this.store);
    this.wasInRecovery = inRecovery;
    this.lookedAtMs = nowMs;
    if (followed === null || followed.timeline === found.timeline) return null;
    return new SluiceError(
      "conflict",
      `${source.host}:${source.port} has gone from timeline ${followed.timeline} to ${found.timeline}: its history is looked at`,
      {
        remedy: "Nothing is to be done: the gateway starts its stream again, if all that is staged is in that history.",
      },
    );
  }
}
