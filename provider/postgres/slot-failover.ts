import { setTimeout as pause } from "node:timers/promises";
import { Client } from "pg";
import type { SourceConfig } from "../../runtime/config";
import { SluiceError } from "../../runtime/errors";
import { clientConfig, toSourceError } from "../../runtime/postgres/client";
import { quoteIdentifier } from "../../runtime/postgres/identifier";
import { withAdmin } from "./admin-session";
import type { Finding } from "./preflight";
import { readSlotFacts } from "./slot-statements";

export interface FailoverFacts {
  /** `server_version_num` */
  versionNumber: number;
  version: string;
  inRecovery: boolean;
  /** null before PostgreSQL 17 */
  synchronizedStandbySlots: string | null;
}

export async function readFailoverFacts(client: Client): Promise<FailoverFacts> {
  const { rows } = await client.query<FailoverFacts>(
    `SELECT current_setting('server_version_num')::int AS "versionNumber", current_setting('server_version') AS version,
            pg_is_in_recovery() AS "inRecovery",
            current_setting('synchronized_standby_slots', true) AS "synchronizedStandbySlots"`,
  );
  return rows[0];
}

/**
 * Pure: what stands against a slot that standbys keep (PostgreSQL documentation, sections 29.3 "Logical Replication
 * Failover" and 47.2.3). What the standbys themselves lack can't be seen from the primary: it is told as a note.
 */
export function findFailoverProblems(facts: FailoverFacts): Pick<Finding, "severity" | "message" | "remedy">[] {
  if (facts.versionNumber < 170_000) {
    return [
      {
        severity: "error",
        message: `PostgreSQL ${facts.version} can't keep logical slots on standbys: 17 or newer can`,
        remedy: "Leave failover out; after a failover the slot must be replaced, with new snapshots.",
      },
    ];
  }
  if (facts.inRecovery) {
    return [
      {
        severity: "error",
        message: "a slot on a standby can't be kept on other standbys",
        remedy: "Leave failover out, or give the primary's host.",
      },
    ];
  }
  const standby =
    "On each standby that may be promoted: sync_replication_slots = on, hot_standby_feedback = on, primary_slot_name set, and a dbname in primary_conninfo.";
  if ((facts.synchronizedStandbySlots ?? "") !== "") return [];
  return [
    {
      severity: "warning",
      message:
        "synchronized_standby_slots is empty: the gateway may be given changes that no standby has yet, and a promoted one would then lack them",
      remedy: `Run ALTER SYSTEM SET synchronized_standby_slots = '<physical slot of the standby>'; SELECT pg_reload_conf(). ${standby}`,
    },
  ];
}

/** @throws SluiceError `unsupported` where standbys can't keep a slot of this server */
export async function expectFailover(client: Client): Promise<void> {
  const problem = findFailoverProblems(await readFailoverFacts(client)).find(({ severity }) => severity === "error");
  if (problem !== undefined) throw new SluiceError("unsupported", problem.message, { remedy: problem.remedy });
}

/**
 * Sets whether standbys keep the slot, in place (ALTER_REPLICATION_SLOT, PostgreSQL documentation, section 54.4). The
 * slot must be idle for it: whoever reads it is ended, and comes back.
 * @throws SluiceError `slot-in-use` when the consumer is always there first; `unsupported` before PostgreSQL 17
 */
export async function alterSlotFailover(
  source: SourceConfig,
  name: string,
  failover: boolean,
  timeoutMs: number,
): Promise<void> {
  const doing = `setting failover of replication slot ${name}`;
  const deadlineMs = Date.now() + timeoutMs;
  await withAdmin(source, doing, async (admin) => {
    if (failover) await expectFailover(admin);
    else if ((await readSlotFacts(admin, name))?.failover == null) return;
    const at = { ...source, host: admin.host, port: admin.port };
    const client = new Client({ ...clientConfig(at), replication: "database" } as never);
    client.on("error", () => {});
    try {
      await client.connect();
      for (;;) {
        const { activePid } = (await readSlotFacts(admin, name)) ?? { activePid: null };
        if (activePid !== null) await admin.query("SELECT pg_terminate_backend($1)", [activePid]);
        try {
          await client.query(`ALTER_REPLICATION_SLOT ${quoteIdentifier(name)} (FAILOVER ${failover})`);
          return;
        } catch (error) {
          const failure = toSourceError(error, doing, source);
          if (failure.kind !== "slot-in-use") throw failure;
          if (Date.now() > deadlineMs) {
            throw new SluiceError("slot-in-use", failure.message, {
              remedy:
                "Stop the consumer that keeps reconnecting (pg_stat_replication names it), then run the update again.",
              sqlState: failure.sqlState,
              cause: failure,
            });
          }
        }
        await pause(20);
      }
    } finally {
      await client.end().catch(() => {});
    }
  });
}
