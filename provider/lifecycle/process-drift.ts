import { runtimeConfigSchema } from "../../runtime/config";
import { version } from "../../runtime/version";
import { type Inspection, type ProcessSpec, renderConfiguration } from "../deploy/deployment";
import { digestOf } from "../deploy/process-files";
import { same } from "./comparison";
import type { Properties } from "./lifecycle";
import { printOnce } from "./own-names";

/** What differs from what is declared, of a process that runs or is done: configuration, secret files, version. */
export function settingsDrift(found: Extract<Inspection, { configuration: string }>, spec: ProcessSpec): string[] {
  const { role } = spec.config;
  const drift: string[] = [];
  const wanted = JSON.parse(renderConfiguration(spec.config)) as unknown;
  const paths = differingPaths(wanted, parse(found.configuration));
  if (paths.length > 0) {
    const where = paths.map((path) => path || "all of it").join(", ");
    drift.push(`the ${role}'s configuration was changed by hand, or by another version of Sluice: ${where}`);
  }
  for (const [name, digest] of Object.entries(found.secrets ?? {})) {
    const content = spec.secretFiles[name];
    if (content !== undefined && digestOf(content) === digest) continue;
    drift.push(`the ${role}'s secret file ${name} is another than it should be, or others can read it`);
  }
  for (const name of Object.keys(spec.secretFiles)) {
    if (found.secrets !== undefined && !(name in found.secrets)) {
      drift.push(`the ${role}'s secret file ${name} is gone`);
    }
  }
  if (found.version !== undefined && found.version !== version) {
    drift.push(`the ${role} runs version ${found.version} of Sluice, and this is ${version}: an update starts it anew`);
  }
  drift.push(...(found.changed ?? []));
  return drift;
}

/** `healthy`: it runs, or it is done. */
export type ProcessCondition = "healthy" | "dead" | "failed" | "absent";

/** Outputs of a process that was just started. */
export const soundProcess: Properties = { processState: "healthy" satisfies ProcessCondition, runtimeVersion: version };

/**
 * Pure: what is there, as properties of the resource that differ from those of before. Settings that the configuration on
 * disk has otherwise are told as it has them; each of `keys` is an input and a part of the configuration.
 */
export function processProperties(
  found: Inspection,
  props: Properties,
  keys: readonly string[],
): { settings: Properties; facts: Properties } {
  const processState = conditionOf(found);
  const runtimeVersion = ("version" in found ? found.version : undefined) ?? props.runtimeVersion ?? version;
  // Resources of before have neither: they get them where there is something to tell.
  const isNew = props.processState === undefined;
  const facts =
    isNew && processState === "healthy" && runtimeVersion === version ? {} : { processState, runtimeVersion };
  if (!("configuration" in found)) return { settings: {}, facts };
  const written = parse(found.configuration);
  const config = runtimeConfigSchema.safeParse(written);
  if (!config.success || !isObject(written)) return { settings: {}, facts };
  const onDisk = config.data as Properties;
  // What was written by an earlier version, with fewer settings, is the same as what is kept of it.
  const isKept = (key: string) => same(props[key], written[key]) || same(props[key], onDisk[key]);
  const differing = keys.filter((key) => props[key] !== undefined && !isKept(key));
  return { settings: Object.fromEntries(differing.map((key) => [key, onDisk[key]])), facts };
}

function conditionOf(found: Inspection): ProcessCondition {
  switch (found.kind) {
    case "running":
    case "finished":
      return "healthy";
    case "foreign":
      return "absent";
    case "absent":
    case "dead":
    case "failed":
      return found.kind;
  }
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

/** A package that was renewed leaves processes alone: a preview tells of them. */
export function tellVersion(kind: string, olds: Properties): void {
  if (typeof olds.runtimeVersion !== "string" || olds.runtimeVersion === version) return;
  printOnce(
    `note: ${kind} ${String(olds.deploymentId)} was started by version ${olds.runtimeVersion} of Sluice, and this is ${version}: pulumi refresh, then pulumi up, start it anew`,
  );
}

/** Paths only: by hand somebody may have written a secret there (invariant 6). */
function differingPaths(wanted: unknown, found: unknown, path = ""): string[] {
  if (same(wanted, found)) return [];
  if (!isObject(wanted) || !isObject(found)) return [path];
  const keys = [...new Set([...Object.keys(wanted), ...Object.keys(found)])];
  return keys.flatMap((key) => differingPaths(wanted[key], found[key], path === "" ? key : `${path}.${key}`));
}

function isObject(value: unknown): value is Properties {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
