import type { Client } from "pg";
import { SluiceError } from "../errors";

/** The session that streams from a slot; what this role may not see is null. */
export interface SlotHolder {
  pid: number;
  applicationName: string | null;
  clientAddress: string | null;
  user: string | null;
  since: string | null;
}

export async function readHolder(client: Client, pid: number): Promise<SlotHolder> {
  const { rows } = await client.query<Omit<SlotHolder, "pid">>(
    `SELECT nullif(application_name, '') AS "applicationName", host(client_addr) AS "clientAddress", usename AS user,
            to_char(backend_start AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') AS since
       FROM pg_catalog.pg_stat_activity WHERE pid = $1`,
    [pid],
  );
  return { pid, ...(rows[0] ?? { applicationName: null, clientAddress: null, user: null, since: null }) };
}

/** Waited out: a session that is dead ends by itself, at the latest after wal_sender_timeout. */
export function slotInUse(slot: string, holder: SlotHolder): SluiceError {
  const { pid, applicationName, clientAddress, user, since } = holder;
  const parts = [
    `pid ${pid}`,
    applicationName === null ? null : `application ${JSON.stringify(applicationName)}`,
    user === null ? null : `user ${user}`,
    clientAddress === null ? null : `from ${clientAddress}`,
    since === null ? null : `since ${since}`,
  ].filter((part) => part !== null);
  return new SluiceError(
    "slot-in-use",
    `the replication slot ${slot} is held by another session: ${parts.join(", ")}`,
    {
      remedy: `A session that is dead ends after wal_sender_timeout. Else stop that consumer, or end its session: SELECT pg_terminate_backend(${pid});`,
    },
  );
}
