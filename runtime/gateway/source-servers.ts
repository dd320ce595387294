import type { Client } from "pg";
import type { SourceConfig } from "../config";
import { log } from "../operate/log";
import { type ConnectOptions, connectSource } from "../postgres/client";

/** Makes the gateway's sessions, all of them at the server that is followed: never at a former primary that is back. */
export class SourceServers {
  private passedOver = "";

  /** @param timelineMin the timeline that staging follows; 0 before there is one */
  constructor(
    readonly source: SourceConfig,
    private timelineMin: number,
  ) {}

  /** A server on this timeline is streamed from: those on earlier ones are former primaries from now on. */
  follow(timeline: number): void {
    this.timelineMin = Math.max(this.timelineMin, timeline);
  }

  connect(options: ConnectOptions): Promise<Client> {
    const passedOver: string[] = [];
    return connectSource(this.source, {
      ...options,
      timelineMin: this.timelineMin,
      onPassedOver: (reason) => passedOver.push(reason),
    }).then((client) => {
      const reasons = passedOver.join("; ");
      if (reasons !== this.passedOver && reasons !== "") {
        log("warning", "server-passed-over", { reasons, server: `${client.host}:${client.port}` });
      }
      this.passedOver = reasons;
      return client;
    });
  }
}
