import { readFileSync } from "node:fs";
import { SluiceError } from "../errors";

/**
 * Pure: sections of a .databrickscfg. As Databricks' own programs read it: only whole lines are comments, a secret may have
 * `#` or `;` in it.
 */
export function parseProfiles(text: string): Map<string, Map<string, string>> {
  const profiles = new Map<string, Map<string, string>>();
  let current: Map<string, string> | null = null;
  for (const line of text.split(/\r?\n/).map((one) => one.trim())) {
    if (line === "" || line.startsWith("#") || line.startsWith(";")) continue;
    const section = /^\[(.+)\]$/.exec(line)?.[1];
    if (section !== undefined) {
      current = profiles.get(section) ?? new Map();
      profiles.set(section, current);
      continue;
    }
    const [, key, value] = /^([^=:]+?)\s*[=:]\s*(.*)$/.exec(line) ?? [];
    if (key !== undefined && current !== null) current.set(key.toLowerCase(), value);
  }
  return profiles;
}

/** @throws SluiceError `config` when the file can't be read or has no such profile */
export function readProfile(path: string, name: string): Map<string, string> {
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch (cause) {
    throw new SluiceError("config", `Databricks: the configuration file ${path} can't be read`, {
      remedy: `Make it with: databricks configure --profile ${name}; or give host and token, or clientId and clientSecret.`,
      cause,
    });
  }
  const profiles = parseProfiles(text);
  const profile = profiles.get(name);
  if (profile !== undefined) return profile;
  const known = [...profiles.keys()].filter((one) => !one.startsWith("__")).join(", ") || "none";
  throw new SluiceError("config", `Databricks: ${path} has no profile ${name} (it has: ${known})`, {
    remedy: `Make it with: databricks configure --profile ${name}; or name one that it has.`,
  });
}
