import { formerLogsMax } from "../../runtime/config";
import type { Deployment } from "../deploy/deployment";
import { isSameOwner } from "../deploy/staging-folder";
import { applierSpec, pipelineFolder } from "./applier-process";
import { same } from "./comparison";
import { pick } from "./connection";
import type { Properties } from "./lifecycle";
import { stagingPlace } from "./staging-input";
import { placeOfTables } from "./warehouse-destination";

/*
 * A table has the identity of the staging log that it was made of until the next log has filled it. So a pipeline remembers
 * the logs of before, newest last: they tell which tables it made.
 */

/** Those that a pipeline had before it goes over to these inputs; asked while its staging is still there. */
export async function formerLogsOf(deployment: Deployment, olds: Properties, news: Properties): Promise<string[]> {
  // Tables at a former place stay.
  if (!isSamePlace(olds.destination, news.destination)) return [];
  const place = ["stagingPath", "stagingIncarnation"];
  return same(pick(olds, place), pick(news, place)) ? knownLogs(olds) : allLogs(deployment, olds);
}

const isSamePlace = (one: unknown, other: unknown) => same(placeOfTables(one), placeOfTables(other));

const knownLogs = (props: Properties) => (props.formerLogs as string[] | undefined) ?? [];

/** With the one that it has now. */
async function allLogs(deployment: Deployment, props: Properties): Promise<string[]> {
  const known = knownLogs(props);
  const logId = await readLogId(deployment, props);
  return logId === null || known.includes(logId) ? known : [...known, logId].slice(-formerLogsMax);
}

/** Null where it can't be told: then its tables stay at a delete. */
async function readLogId(deployment: Deployment, props: Properties): Promise<string | null> {
  const { stagingPath, deploymentId, stagingIncarnation: incarnation } = props as Record<string, string>;
  try {
    const found = await stagingPlace(props, deployment).inspect(stagingPath, deploymentId);
    // One that another gateway has by now isn't the log that this pipeline has read.
    if (found.kind === "owned" && !isSameOwner(found.owner, { deploymentId, incarnation })) return null;
    const { log } = found.kind === "owned" ? found : { log: undefined };
    return (await log?.readId()) ?? (await readAppliedLog(deployment, props));
  } catch {
    return null;
  }
}

/** What the applier says of itself: not every place of staging can be looked into. Null where it doesn't run. */
async function readAppliedLog(deployment: Deployment, props: Properties): Promise<string | null> {
  const status = await deployment.status(applierSpec(props).directory);
  return status?.role === "applier" && typeof status.logId === "string" ? status.logId : null;
}

/**
 * From a pipeline that is deleted before the one that replaces it, within one run: no state has both. One that is made by
 * a later run, as the first was interrupted, knows nothing of them.
 */
export class LogHandover {
  /** null where two pipelines have one name, below different components: neither's are known then */
  readonly #left = new Map<string, { destination: unknown; logs: string[] } | null>();

  /** Before the delete. */
  async leave(deployment: Deployment, props: Properties): Promise<void> {
    const key = keyOf(props);
    const { destination } = props;
    this.#left.set(key, this.#left.has(key) ? null : { destination, logs: await allLogs(deployment, props) });
  }

  take(inputs: Properties): string[] {
    const left = this.#left.get(keyOf(inputs)) ?? null;
    this.#left.delete(keyOf(inputs));
    return left !== null && isSamePlace(left.destination, inputs.destination) ? left.logs : [];
  }
}

/** One of before this input is known by its folder, if its successor has the same. */
const keyOf = (props: Properties) => (typeof props.origin === "string" ? props.origin : pipelineFolder(props));
