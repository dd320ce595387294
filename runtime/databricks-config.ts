import { z } from "zod";
import { secretReferenceSchema } from "./secret-reference";

/** Of this machine, where a stand-in may be without TLS. */
const isLoopback = (hostname: string) => /^(localhost|127(\.\d{1,3}){3}|\[::1\])$/.test(hostname);

/** Pure: `adb-1.azuredatabricks.net` → `https://adb-1.azuredatabricks.net`; null for what is no workspace's address. */
export function normalizeHost(host: string): string | null {
  let url: URL;
  try {
    url = new URL(host.includes("://") ? host : `https://${host}`);
  } catch {
    return null;
  }
  const isPlain = url.protocol === "http:" && isLoopback(url.hostname);
  if (url.protocol !== "https:" && !isPlain) return null;
  return url.username === "" && url.password === "" ? url.origin : null;
}

export const hostSchema = z.string().transform((host, context) => {
  const normalized = normalizeHost(host);
  if (normalized !== null) return normalized;
  context.addIssue({
    code: "custom",
    message:
      "a workspace's host is its https:// address\n  remedy: Copy it from the browser: https://adb-….azuredatabricks.net, https://….cloud.databricks.com, https://….gcp.databricks.com.",
  });
  return z.NEVER;
});

/** Settings by which a workspace is reached, each by itself; `workspaceProblem` tells which don't agree. */
export const workspaceShape = {
  /** default: the profile's, else DATABRICKS_HOST */
  host: hostSchema.optional(),
  /** a personal access token, or an OAuth token that somebody else keeps fresh */
  token: secretReferenceSchema.optional(),
  /** OAuth of a service principal (machine-to-machine): its application id … */
  clientId: z.string().min(1).optional(),
  /** … and its secret */
  clientSecret: secretReferenceSchema.optional(),
  /** a profile of the configuration file, which has host and one of the former */
  profile: z.string().min(1).optional(),
  /** default: DATABRICKS_CONFIG_FILE, else ~/.databrickscfg */
  configFile: z.string().min(1).optional(),
};

/** Pure: why settings can't go together; null when they can. Unknown values are none of its business. */
export function workspaceProblem(settings: Record<string, unknown>): { property: string; message: string } | null {
  const has = (key: string) => settings[key] !== undefined;
  if (has("clientId") !== has("clientSecret")) {
    const property = has("clientId") ? "clientSecret" : "clientId";
    return { property, message: "clientId and clientSecret go together" };
  }
  const ways = ["token", "clientSecret", "profile"].filter(has);
  if (ways.length > 1) return { property: ways[1], message: `${ways.join(" and ")} exclude each other` };
  if (has("configFile") && !has("profile")) return { property: "configFile", message: "configFile goes with profile" };
  return null;
}

/**
 * A Databricks workspace and who we are there: `token`, or `clientId` with `clientSecret`, or `profile`; where none is given
 * the environment's variables (DATABRICKS_CLIENT_ID with DATABRICKS_CLIENT_SECRET, DATABRICKS_TOKEN,
 * DATABRICKS_CONFIG_PROFILE), and the profile DEFAULT. Secrets are references (invariant 6).
 */
export const workspaceSchema = z.strictObject(workspaceShape).superRefine((settings, context) => {
  const problem = workspaceProblem(settings);
  if (problem !== null) context.addIssue({ code: "custom", path: [problem.property], message: problem.message });
});
export type WorkspaceSettings = z.infer<typeof workspaceSchema>;

/** Variables of the environment that `resolveWorkspace` looks at. */
export const workspaceVariables = [
  "DATABRICKS_HOST",
  "DATABRICKS_CLIENT_ID",
  "DATABRICKS_CLIENT_SECRET",
  "DATABRICKS_TOKEN",
  "DATABRICKS_CONFIG_PROFILE",
  "DATABRICKS_CONFIG_FILE",
] as const;

/** A Unity Catalog volume's name: `catalog.schema.volume`, each part as it is written, without quotes. */
export const volumeNameSchema = z
  .string()
  .regex(
    /^[^./`\s]+\.[^./`\s]+\.[^./`\s]+$/,
    "a volume is named catalog.schema.volume\n  remedy: SHOW VOLUMES IN catalog.schema lists them.",
  );

/** Pure: `main.sluice.staging` → `/Volumes/main/sluice/staging`. */
export const volumePath = (volume: string) => `/Volumes/${volume.split(".").join("/")}`;

/** Pure: the volume and the folder in it of a path below `/Volumes`; null for another path. */
export function parseVolumePath(path: string): { volume: string; folder: string } | null {
  const [, root, catalog, schema, volume, ...rest] = path.split("/");
  if (root !== "Volumes" || !catalog || !schema || !volume) return null;
  return { volume: `${catalog}.${schema}.${volume}`, folder: rest.join("/") };
}
