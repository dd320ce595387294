import { basename, dirname } from "node:path";
import type { RuntimeConfigInput } from "../../runtime/config";
import type { SecretReference } from "../../runtime/secret-reference";
import type { ProcessSpec } from "./deployment";
import type { SecretOrigin } from "./secret-origin";

/** Where a process elsewhere finds what its configuration names on this machine. */
export interface ReferencePlaces {
  secret: (origin: SecretOrigin) => SecretReference;
  /** Instead of a setting that is a file's path, such as `sslRootCertFile`. */
  file: (setting: string, path: string) => [setting: string, value: string];
}

/** Pure: whether a file is one of the process's own secrets, or of this machine. */
export const originOf = (path: string, directory: string): SecretOrigin =>
  dirname(path) === directory ? { kind: "value", name: basename(path) } : { kind: "file", path };

/**
 * Pure but for `places`: source, staging and destination of a process's configuration, as far as it has them and they aren't
 * folders, with all references to secrets and files as `places` tells.
 */
export function placedReferences(
  { config, directory }: Pick<ProcessSpec, "config" | "directory">,
  places: ReferencePlaces,
): Pick<RuntimeConfigInput, "staging"> {
  const placed = (value: unknown): unknown => {
    if (typeof value !== "object" || value === null || Array.isArray(value)) return value;
    const entries = Object.entries(value);
    const [[key, reference] = []] = entries;
    if (entries.length === 1 && typeof reference === "string") {
      if (key === "env") return places.secret({ kind: "variable", name: reference });
      if (key === "file") return places.secret(originOf(reference, directory));
    }
    return Object.fromEntries(
      entries.map(([setting, inner]) =>
        setting.endsWith("File") && typeof inner === "string" ? places.file(setting, inner) : [setting, placed(inner)],
      ),
    );
  };
  const own: Record<string, unknown> = {};
  if ("source" in config) own.source = placed(config.source);
  if (config.staging !== undefined) own.staging = placed(config.staging);
  if (config.role === "applier" && config.destination.kind !== "local") own.destination = placed(config.destination);
  return own;
}
