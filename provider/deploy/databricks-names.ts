import { createHash } from "node:crypto";
import { basename, dirname } from "node:path";
import { SluiceError } from "../../runtime/errors";
import type { Host } from "./databricks-configuration";
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

/** Pure: names what a deployment is made of: of anything else it is another one. */
export const digestOf = (made: unknown): string =>
  createHash("sha256").update(JSON.stringify(made)).digest("hex").slice(0, 16);

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

/** @param id by which the vendor's own command removes it */
export const nameTaken = (host: Host, name: string, id: string | number): SluiceError =>
  new SluiceError("name-taken", `the ${host} ${name} exists and isn't this deployment's`, {
    remedy: `Choose another deploymentId; or, if nobody needs it, run databricks ${host}s delete ${id}.`,
  });
