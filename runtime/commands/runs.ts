import { bytesText } from "../byte-text";
import type { RuntimeConfig } from "../config";
import { SluiceError } from "../errors";
import { readRunHistory } from "../operate/run-history";
import { runPlaceOf } from "../operate/run-place";
import { countText, secondsText, textTable } from "../operate/text-table";
import { openStaging } from "../staging/open-staging";
import type { TableRun } from "../status";

const headings = ["START", "NAME", "TYPE", "STATUS", "DURATION", "UPSERTED", "DELETED", "DROPPED", "FAIL %", "BYTES"];

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
      remedy: "Give the applier's: <stateDir>/<deploymentId>/applier/config.json.",
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

const labelOf = ({ schema, name }: TableRun) => `${schema}.${name}`;

/** Pure. */
export function runLines(runs: readonly TableRun[]): string[] {
  const lines = textTable(headings, runs.map(cells), 4);
  for (const run of runs) {
    if (run.error !== undefined) lines.push("", `${run.startedAt} ${labelOf(run)}: ${run.error.message}`);
    if (run.error?.remedy !== undefined) lines.push(`  remedy: ${run.error.remedy}`);
  }
  return lines;
}

function cells(run: TableRun): string[] {
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
