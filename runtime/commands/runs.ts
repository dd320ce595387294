import { bytesText } from "../byte-text";
import type { RuntimeConfig } from "../config";
import { type PipelineEvent, pipelineEvents } from "../databricks/pipeline-api";
import type { WorkspaceClient } from "../databricks/workspace-client";
import { SluiceError } from "../errors";
import { readRunHistory } from "../operate/run-history";
import { runPlaceOf } from "../operate/run-place";
import { countText, secondsText, textTable } from "../operate/text-table";
import { openStaging } from "../staging/open-staging";
import type { TableRun } from "../status";
import { type PipelineRun, pipelineRuns } from "./pipeline-runs";

const headings = ["START", "NAME", "TYPE", "STATUS", "DURATION", "UPSERTED", "DELETED", "DROPPED", "FAIL %", "BYTES"];
/** Of a pipeline, that are read at most. */
const eventsMax = 20_000;

/**
 * `sluice runs`: the history of an applier's runs, newest first, from where it is kept; the process needn't run.
 * @param labels `schema.name` at the source; all tables when there are none
 */
export async function printRuns(
  config: RuntimeConfig,
  labels: string[],
  { limit, asJson }: { limit: number; asJson: boolean },
): Promise<void> {
  if (config.role !== "applier") {
    throw new SluiceError("config", `sluice runs: the configuration is of a ${config.role}`, {
      remedy:
        "Give the applier's: <stateDir>/<deploymentId>/applier/config.json. Runs of a declarative pipeline: --pipeline ID.",
    });
  }
  const all = await readRunHistory(await runPlaceOf(config, () => openStaging(config)));
  const known = new Set(all.map(labelOf));
  const unknown = labels.find((label) => !known.has(label));
  if (unknown !== undefined) {
    throw new SluiceError("missing-object", `the history of ${config.id} has no run of ${unknown}`, {
      remedy: known.size === 0 ? "There is none of any table yet." : `Name one of: ${[...known].sort().join(", ")}.`,
    });
  }
  const chosen = labels.length === 0 ? all : all.filter((run) => labels.includes(labelOf(run)));
  const runs = chosen.slice(-limit).reverse();
  if (asJson) process.stdout.write(`${JSON.stringify({ runs })}\n`);
  else process.stdout.write(`${runLines(runs).join("\n")}\n`);
}

/** What of a run is shown, ours or a declarative pipeline's. */
type ShownRun = Pick<
  TableRun,
  "schema" | "name" | "startedAt" | "durationMs" | "upserted" | "deleted" | "dropped" | "failPercent" | "bytes"
> & { type: string; status: string; error?: { message: string; remedy?: string } };

/**
 * `sluice runs --pipeline`: the same of a declarative pipeline, from Databricks' event log. What an update has done is told
 * once all its events are read; so as many are read as `limit` runs take, to a bound.
 * @param labels `schema.name` in the workspace
 */
export async function printPipelineRuns(
  client: WorkspaceClient,
  pipelineId: string,
  labels: string[],
  { limit, asJson }: { limit: number; asJson: boolean },
): Promise<void> {
  const isWanted = (run: PipelineRun) => labels.length === 0 || labels.includes(labelOf(run));
  let events: PipelineEvent[] = [];
  let isWhole = true;
  for await (const page of pipelineEvents(client, pipelineId)) {
    events.push(...page);
    // Of the last one there may be more.
    const oldest = events.findLast(({ origin }) => origin?.update_id !== undefined)?.origin?.update_id;
    const known = events.filter(({ origin }) => origin?.update_id !== oldest);
    const isEnough = pipelineRuns(known).filter(isWanted).length >= limit;
    isWhole = !isEnough && events.length < eventsMax;
    if (isEnough) events = known;
    if (!isWhole) break;
  }
  const runs = pipelineRuns(events).filter(isWanted).slice(0, limit);
  if (asJson) process.stdout.write(`${JSON.stringify({ runs })}\n`);
  else process.stdout.write(`${runLines(runs).join("\n")}\n`);
  if (!isWhole && runs.length < limit) {
    process.stderr.write(`the last ${eventsMax} events were read, and what is older wasn't\n`);
  }
}

const labelOf = ({ schema, name }: { schema: string; name: string }) => (schema === "" ? name : `${schema}.${name}`);

/** Pure. */
export function runLines(runs: readonly ShownRun[]): string[] {
  const lines = textTable(headings, runs.map(cells), 4);
  for (const run of runs) {
    if (run.error !== undefined) lines.push("", `${run.startedAt} ${labelOf(run)}: ${run.error.message}`);
    if (run.error?.remedy !== undefined) lines.push(`  remedy: ${run.error.remedy}`);
  }
  return lines;
}

function cells(run: ShownRun): string[] {
  return [
    run.startedAt,
    labelOf(run),
    run.type,
    run.status,
    secondsText(run.durationMs),
    countText(run.upserted),
    countText(run.deleted),
    countText(run.dropped),
    run.failPercent.toFixed(1),
    bytesText(run.bytes),
  ];
}
