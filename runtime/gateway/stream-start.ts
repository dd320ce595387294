import type { Client } from "pg";
import { requireEncoding } from "../change/catalog";
import { isSentInBinary } from "../change/schema-change";
import type { GatewayConfig, SourceConfig } from "../config";
import { SluiceError } from "../errors";
import { log } from "../operate/log";
import { formatLsn, type Lsn, lsnZero, maxLsn } from "../postgres/lsn";
import { readServerVersion } from "../postgres/server-version";
import { identifySystem, readIdentity, type SourceIdentity } from "../postgres/source-identity";
import { describedMax, readTableDescriptions } from "../postgres/table-description";
import type { ObjectStore } from "../staging/object-store";
import type { Capture } from "./capture";
import { addPublished, type PublishedTable, readPublishedTables } from "./published-tables";
import { readHolder, slotInUse } from "./slot-holder";
import { readServerState, type ServerState, type SlotState } from "./slot-query";
import { recoverLostSlot, restartAt } from "./slot-recovery";
import { lineageOf, lineageProblem } from "./source-lineage";
import type { SourceServers } from "./source-servers";
import type { Stager } from "./stager";
import { type FollowedSource, type IdlePosition, readFollowedSource, writeFollowedSource } from "./staging-state";
import { startPosition } from "./start-position";

/** How long one statement of a start may take: a lost slot that is made anew waits for open transactions. */
const startTimeoutMs = 120_000;

export interface StreamStartContext {
  config: GatewayConfig;
  servers: SourceServers;
  store: ObjectStore;
  capture: Capture;
  stager: Stager;
  idle: IdlePosition;
}

export interface StreamStart {
  /** with the address of the server that was looked at */
  source: SourceConfig;
  serverVersion: number;
  /** whether values are streamed in binary form */
  binary: boolean;
  startLsn: Lsn;
  /** Throws when another server answers than the one that was looked at. */
  verify(client: Client): Promise<void>;
}

/**
 * Looks at server, slot and publication before a stream, and decides from where to stream. What is found of a gap is
 * passed by policy only; then, and after a failover, staging says so before anything else is staged.
 * @throws SluiceError `slot-lost`, `config` (another cluster), `slot-in-use`, `unreachable` (a standby, a former primary)
 */
export async function prepareStream(context: StreamStartContext): Promise<StreamStart> {
  const { config, store, capture, stager, idle, servers } = context;
  const client = await servers.connect({
    applicationName: `sluice ${config.id} start`,
    statementTimeoutMs: startTimeoutMs,
  });
  try {
    const source = { ...config.source, host: client.host, port: client.port, failoverHosts: undefined };
    const serverVersion = await readServerVersion(client);
    const server = await readServerState(client, config.slot);
    assertReadable(source, server);
    const { slot } = server;
    if (slot !== null && slot.activePid !== null)
      throw slotInUse(config.slot, await readHolder(client, slot.activePid));
    const { history, ...identity } = await readIdentity(source, `sluice ${config.id} identity`);
    await requireEncoding(client);
    const published = await readPublishedTables(client, config.publication);
    addPublished(capture, published, config);
    const binary = await allHaveBinaryForm(client, config, published);
    await stager.drained();
    const known = maxLsn(stager.stagedLsn, idle.durableLsn);
    const stagedLsn = known === lsnZero ? null : known;
    const followed = await readFollowedSource(store);
    const lineage = lineageOf(followed, identity, history, stagedLsn);
    const problem = lineageProblem(lineage, followed, identity, stagedLsn);
    if (lineage.kind === "promoted") {
      const { fromTimeline, switchLsn, isSameServer } = lineage;
      log("warning", "failover-followed", {
        server: `${source.host}:${source.port}`,
        fromTimeline,
        timeline: identity.timeline,
        switchLsn: formatLsn(switchLsn),
      });
      if (!isSameServer) {
        // A snapshot of the former primary may hold what the new one never had.
        capture.restartSnapshots("the source failed over during its snapshot: a new one follows");
        await stager.commit([], stager.stagedLsn, capture.stagedTables());
      }
    }
    const startLsn = await decideStart(client, slot, stagedLsn, problem, followed?.failover ?? false, context);
    servers.follow(identity.timeline);
    await follow(store, followed, { ...identity, failover: slot?.health.failover ?? followed?.failover ?? false });
    return { source, serverVersion, binary, startLsn, verify: (stream) => verifyIdentity(stream, identity, source) };
  } finally {
    await client.end().catch(() => {});
  }
}

/** The server makes and sends binary values in half the time. A form for all: one column without it decides. */
async function allHaveBinaryForm(
  client: Client,
  { publication, types }: GatewayConfig,
  published: readonly PublishedTable[],
): Promise<boolean> {
  for (let first = 0; first < published.length; first += describedMax) {
    const ids = published.slice(first, first + describedMax).map(({ tableId }) => tableId);
    const { tables } = await readTableDescriptions(client, publication, ids);
    if (!tables.every((table) => isSentInBinary(table, types))) return false;
  }
  return true;
}

/**
 * A standby is read from when the configuration says so.
 * @throws SluiceError `unreachable`: it is waited with until it is promoted, or another server is found; `unsupported`:
 *   it can't be read from
 */
export function assertReadable(
  source: SourceConfig,
  { inRecovery, version }: Pick<ServerState, "inRecovery" | "version">,
): void {
  if (!inRecovery) return;
  const what = `${source.host}:${source.port} is a standby (in recovery)`;
  if (source.standby !== "allow") {
    throw new SluiceError("unreachable", what, {
      remedy:
        'Promote it, or point host or failoverHosts to the primary; or, with PostgreSQL 16 or newer, make the slot on the standby and set the source\'s standby to "allow".',
    });
  }
  if (version >= 160_000) return;
  const major = Math.floor(version / 10_000);
  throw new SluiceError("unsupported", `${what} of PostgreSQL ${major}, which decodes on a primary only`, {
    remedy: "Point host to the primary, or upgrade to PostgreSQL 16 or newer.",
  });
}

async function decideStart(
  client: Client,
  slot: SlotState | null,
  stagedLsn: Lsn | null,
  problem: SluiceError | null,
  failover: boolean,
  context: StreamStartContext,
): Promise<Lsn> {
  const { config, capture, stager, idle } = context;
  let startLsn: Lsn;
  try {
    if (problem !== null) throw problem;
    startLsn = startPosition(slot?.position ?? null, config.slot, stagedLsn, capture.startsAnew);
  } catch (thrown) {
    const isLost = thrown instanceof SluiceError && thrown.kind === "slot-lost";
    if (!isLost || config.onSlotLost === "fail") throw thrown;
    return recoverLostSlot(client, slot, thrown, failover, context);
  }
  if (stagedLsn === null) {
    stager.restart(startLsn);
    await idle.advance(startLsn);
  } else if (startLsn > stagedLsn) {
    await restartAt(startLsn, "the slot leads: a new snapshot follows", context);
  }
  return startLsn;
}

async function follow(store: ObjectStore, followed: FollowedSource | null, found: FollowedSource): Promise<void> {
  const isSame =
    followed?.systemIdentifier === found.systemIdentifier &&
    followed.timeline === found.timeline &&
    followed.startedAt === found.startedAt &&
    followed.failover === found.failover;
  if (!isSame) await writeFollowedSource(store, found);
}

async function verifyIdentity(client: Client, expected: SourceIdentity, source: SourceConfig): Promise<void> {
  const found = await identifySystem(client);
  if (found.systemIdentifier === expected.systemIdentifier && found.timeline === expected.timeline) return;
  throw new SluiceError(
    "unreachable",
    `${source.host}:${source.port} led to another server, or was promoted, between two connections`,
    {
      remedy:
        "The gateway connects again by itself. If it comes again, let host name one server, not a balancer over several; failoverHosts names the others.",
    },
  );
}
