import type { Client } from "pg";
import type { GatewayConfig } from "../config";
import { SluiceError } from "../errors";
import { failpoint } from "../failpoint";
import { log } from "../operate/log";
import { formatLsn, type Lsn } from "../postgres/lsn";
import { createSlotSql, standbySlotRemedy } from "../postgres/slot-creation";
import { toSourceError } from "../postgres/source-error";
import type { Capture } from "./capture";
import { readServerState, type SlotState } from "./slot-query";
import type { Stager } from "./stager";
import type { IdlePosition } from "./staging-state";
import { isInvalidated } from "./start-position";

export interface SlotRecoveryContext {
  config: GatewayConfig;
  capture: Capture;
  stager: Stager;
  idle: IdlePosition;
}

/** How long the new slot may wait for open transactions to end. */
const createTimeoutMs = 60_000;

/**
 * Goes on after a lost slot, by policy `resnapshot`: never past the gap in silence. Each step bears a crash after it:
 * 1. a record says that every table waits for a new snapshot: from then on the slot may lead;
 * 2. a slot that is invalidated is dropped, one that is gone is made anew under its name; one that merely leads stays;
 * 3. a record goes on from the slot's position. The log's sequence goes on, and what the destination has stays readable.
 * The stream is detached and staging is drained.
 * @param failover whether the slot was kept on standbys when it was last seen
 * @returns from where to stream
 * @throws SluiceError `name-taken` when the slot of that name isn't ours, `timeout` when transactions hold its creation
 */
export async function recoverLostSlot(
  client: Client,
  slot: SlotState | null,
  reason: SluiceError,
  failover: boolean,
  context: SlotRecoveryContext,
): Promise<Lsn> {
  const { config, capture, stager } = context;
  assertOwn(slot, await readDatabase(client), config.slot);
  log("error", "slot-lost-resnapshot", { slot: config.slot, reason: reason.message });
  capture.restart("the slot was lost: a new snapshot follows");
  await stager.commit([], stager.stagedLsn, capture.stagedTables());
  failpoint("gateway.after-slot-loss-recorded");
  if (slot !== null && (isInvalidated(slot.position) || slot.position.confirmedFlushLsn === null)) {
    await client.query("SELECT pg_drop_replication_slot($1)", [config.slot]);
    failpoint("gateway.after-slot-dropped");
    await createSlot(client, config.slot, slot.health.failover === true);
  } else if (slot === null) {
    await createSlot(client, config.slot, failover);
  }
  failpoint("gateway.after-slot-created");
  const made = (await readServerState(client, config.slot)).slot?.position.confirmedFlushLsn ?? null;
  if (made === null) {
    throw new SluiceError("timeout", `the replication slot ${config.slot} is gone again`, {
      remedy:
        "It is made again by itself. If that comes again, look for who drops it: log_replication_commands = on tells in the server's log.",
    });
  }
  await restartAt(made, "the slot was lost: a new snapshot follows", context);
  log("info", "slot-recovered", { slot: config.slot, startLsn: formatLsn(made), tables: capture.tables.size });
  return made;
}

/** Beyond a gap: every table waits for a snapshot that is taken from now on, as one taken before may miss what lies in it. */
export async function restartAt(startLsn: Lsn, reason: string, context: SlotRecoveryContext): Promise<void> {
  const { capture, stager, idle } = context;
  capture.restart(reason);
  await stager.commit([], startLsn, capture.stagedTables());
  await idle.restart(startLsn);
}

async function readDatabase(client: Client): Promise<string> {
  const { rows } = await client.query<{ name: string }>("SELECT current_database() AS name");
  return rows[0].name;
}

/** A slot is ours by its name, its plug-in and its database: no other than a gateway of this configuration reads it. */
function assertOwn(slot: SlotState | null, database: string, name: string): void {
  if (slot === null) return;
  const { plugin, database: of } = slot.position;
  if (plugin === "pgoutput" && of === database) return;
  throw new SluiceError(
    "name-taken",
    `the replication slot ${name} (plug-in ${plugin}, database ${of}) isn't this gateway's: it is left alone`,
    { remedy: "Replace the ReplicationSlot, so that it gets another name." },
  );
}

async function createSlot(client: Client, name: string, failover: boolean): Promise<void> {
  const { rows } = await client.query<{ version: number; standby: boolean }>(
    "SELECT current_setting('server_version_num')::int AS version, pg_is_in_recovery() AS standby",
  );
  const [{ version, standby }] = rows;
  // On a standby it waits for a record of the primary, which is no lock.
  await client.query(`SET lock_timeout = ${createTimeoutMs}; SET statement_timeout = ${createTimeoutMs + 1_000}`);
  try {
    await client.query(createSlotSql(version, failover), [name]);
  } catch (thrown) {
    const error = toSourceError(thrown, `creating the replication slot ${name}`);
    if (error.kind !== "timeout" || !standby) throw error;
    throw new SluiceError("timeout", error.message, { remedy: standbySlotRemedy, sqlState: error.sqlState });
  } finally {
    await client.query("RESET lock_timeout; RESET statement_timeout").catch(() => {});
  }
}
