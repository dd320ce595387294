import type { SecretReference } from "../runtime/secret-reference";

/** Where staging lies: in a folder of the machine where the processes run, or in a Unity Catalog volume. */
export type StagingArgs = FolderStagingArgs | VolumeStagingArgs;

export interface FolderStagingArgs {
  kind: "folder";
  /** As `stagingPath`: absolute, new or empty. */
  path: string;
}

/** A folder of a Unity Catalog volume, by the Files API of a Databricks workspace. The volume exists, and stays. */
export interface VolumeStagingArgs {
  kind: "volume";
  /** `catalog.schema.volume`. Another one replaces. */
  volume: string;
  /** Folder in it, of this gateway alone, new or empty; default: the deployment's id. Another one replaces. */
  path?: string;
  /** Default: the environment's. Another `host` replaces; the rest restarts the process. */
  workspace?: WorkspaceArgs;
  /** Local copies that are kept beside those in use, in bytes; default 2 GiB. Restarts the process. */
  cacheBytesMax?: number;
  /** Files that are sent at a time; default 4, at most 8. Restarts the process. */
  uploadsMax?: number;
}

/**
 * A Databricks workspace and who we are there: `clientId` with `clientSecret`, or `token`, or `profile`. What isn't said is
 * that of the environment, as Databricks' own programs have it: `DATABRICKS_HOST`, `DATABRICKS_CLIENT_ID` with
 * `DATABRICKS_CLIENT_SECRET`, `DATABRICKS_TOKEN`, `DATABRICKS_CONFIG_PROFILE`, the profile `DEFAULT`. Secrets are references,
 * read where they are used: they are in no state, file of ours, log or process argument.
 */
export interface WorkspaceArgs {
  /** Its `https://` address. */
  host?: string;
  /** Application id of a service principal, for OAuth (machine-to-machine). */
  clientId?: string;
  /** Its OAuth secret: `{ env: "NAME" }` or `{ file: "/path" }`. */
  clientSecret?: SecretReference;
  /** A personal access token. */
  token?: SecretReference;
  /** Of a .databrickscfg, with host and one of the former in it. */
  profile?: string;
  /** Default: `DATABRICKS_CONFIG_FILE`, else ~/.databrickscfg. */
  configFile?: string;
}
