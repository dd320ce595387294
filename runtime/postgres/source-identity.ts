import { Client } from "pg";
import type { SourceConfig } from "../config";
import { SluiceError } from "../errors";
import { clientConfig } from "./client";
import { type Lsn, parseLsn } from "./lsn";
import { toSourceError } from "./source-error";

/** Which cluster a server belongs to, and which of its histories it is on. */
export interface SourceIdentity {
  systemIdentifier: string;
  timeline: number;
}

/** A server, as long as it isn't restarted. */
export interface ServerIdentity extends SourceIdentity {
  /** when it was started, in microseconds: two servers of a cluster never have the same */
  startedAt: string;
}

/** A timeline that this server's history went through, and where it left it. */
export interface TimelineSwitch {
  timeline: number;
  switchLsn: Lsn;
}

/** IDENTIFY_SYSTEM, for which REPLICATION is all that a role needs (PostgreSQL documentation, section 54.4). */
export async function identifySystem(client: Client): Promise<SourceIdentity> {
  const { rows } = await client.query<{ systemid: string; timeline: number | string }>("IDENTIFY_SYSTEM");
  return { systemIdentifier: String(rows[0].systemid), timeline: Number(rows[0].timeline) };
}

/** Identity and history of the server at `source`, by a replication connection of its own. */
export async function readIdentity(
  source: SourceConfig,
  applicationName: string,
): Promise<ServerIdentity & { history: TimelineSwitch[] }> {
  const client = new Client({ ...clientConfig(source, { applicationName }), replication: "database" } as never);
  client.on("error", () => {});
  const timer = setTimeout(() => void client.end().catch(() => {}), source.connectTimeoutMs + 20_000);
  try {
    await client.connect();
    const identity = await identifySystem(client);
    const { rows } = await client.query<{ at: string }>(
      "SELECT (extract(epoch FROM pg_postmaster_start_time()) * 1000000)::int8::text AS at",
    );
    return { ...identity, startedAt: rows[0].at, history: await readHistory(client, identity.timeline) };
  } catch (error) {
    throw toSourceError(error, "identifying the server", source);
  } finally {
    clearTimeout(timer);
    await client.end().catch(() => {});
  }
}

async function readHistory(client: Client, timeline: number): Promise<TimelineSwitch[]> {
  // The first timeline has no history file.
  if (timeline === 1) return [];
  const { rows } = await client.query<{ content: Buffer | string }>(`TIMELINE_HISTORY ${timeline}`);
  return parseTimelineHistory(String(rows[0].content));
}

/** Pure: a timeline history file, with a line for each ancestor: id, where it was left, and why. */
export function parseTimelineHistory(content: string): TimelineSwitch[] {
  const switches: TimelineSwitch[] = [];
  for (const line of content.split("\n")) {
    if (/^\s*(#|$)/.test(line)) continue;
    const match = /^\s*(\d+)\s+([0-9A-Fa-f]+\/[0-9A-Fa-f]+)(\s|$)/.exec(line);
    if (match === null) {
      throw new SluiceError("protocol", `timeline history: ${JSON.stringify(line)} can't be read`, {
        remedy: "Compare with the server's own file, pg_wal/<timeline>.history: a line is id, LSN and reason.",
      });
    }
    switches.push({ timeline: Number(match[1]), switchLsn: parseLsn(match[2]) });
  }
  return switches;
}
