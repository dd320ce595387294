import { basename, dirname } from "node:path";
import type { DatabricksOptions } from "./databricks-options";
import { shortName } from "./kubernetes-names";

/** Of Databricks' apps: 2 to 30 characters; jobs take more, and have the same. */
const nameMax = 30;

/** Pure: `<stateDir>/orders/gateway` → `sluice-orders-gateway`. */
export function processName(directory: string): string {
  const role = basename(directory);
  return `sluice-${shortName(basename(dirname(directory)), nameMax - `sluice--${role}`.length)}-${role}`;
}

/** Pure: the workspace's folder of a process, with a folder for each of its sources. */
export const processFolder = ({ folder }: Pick<DatabricksOptions, "folder">, directory: string) =>
  `${folder}/${processName(directory)}`;

const mark = "pulumi-sluice ";

/** Pure: an app's or job's description, by which it is ours. */
export const describeProcess = (directory: string, tether: string | null): string =>
  `${mark}${directory}${tether === null ? "" : ` ${tether}`}`;

/** Pure: whose that is, by its description; null for one that isn't ours. */
export function readDescription(description: string | undefined): { directory: string; tether: string | null } | null {
  if (description === undefined || !description.startsWith(mark)) return null;
  const [, directory, tether] = /^(.*?)(?: (\{.*\}))?$/.exec(description.slice(mark.length)) ?? [];
  return { directory, tether: tether ?? null };
}
