import { existsSync } from "node:fs";
import type { ApplierConfig } from "../config";
import { readProgress } from "../staging/applier-progress";
import { openStaging } from "../staging/open-staging";
import { readLogIdentity } from "../staging/staging-log";
import type { Place } from "./table-home";

/** Of what an applier has made its tables, as far as staging and configuration tell. */
export interface MadeTables {
  /** identities of its staging log and of former ones; one of them is in the properties of each of its tables */
  logIds: ReadonlySet<string>;
  /** where its tables are or were, as far as its progress tells */
  places: Place[];
}

export async function readMadeTables({ stagingPath, staging, id, formerLogs }: ApplierConfig): Promise<MadeTables> {
  const logIds = new Set(formerLogs);
  if (staging.kind === "folder" && !existsSync(stagingPath)) return { logIds, places: [] };
  const store = await openStaging({ stagingPath, staging });
  const logId = await readLogIdentity(store);
  if (logId === null) return { logIds, places: [] };
  logIds.add(logId);
  const tables = Object.values((await readProgress(store, id, logId))?.tables ?? {});
  return { logIds, places: tables.map(({ place, schema, name }) => place ?? { schema, name }) };
}

/** What became of one table of the destination. */
export type TableFate = { path: string } & ({ kind: "dropped" } | { kind: "kept"; reason: string });

/** Why a table stays whose staging log isn't one of these. */
export function otherLog(logIds: ReadonlySet<string>): string {
  return logIds.size === 0 ? "the staging log is gone that tells whose it is" : "it was made of another staging log";
}
