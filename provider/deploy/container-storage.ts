import type { StatusDocument } from "../../runtime/status";
import type { ProcessSpec, StagingPlace } from "./deployment";
import type { Owner } from "./private-files";

/** What is in a process's folder. */
export interface FolderContent {
  configuration: string | null;
  status: StatusDocument | null;
  /** by name to SHA-256; empty for one that others can read */
  secretDigests: Record<string, string>;
}

/** Who a process is: inside of the container, and as the same user's files are seen from outside. */
export interface User {
  inside: Owner;
  outside: Owner;
  /** the engine maps users, and must not for this container */
  mapsUsers: boolean;
}

/**
 * Where the folders of containers are, and how files get into them: this machine's, or volumes of the engine. `container`
 * is the id of one that has the folder; it needs not run.
 */
export interface ContainerStorage {
  readonly isHere: boolean;
  readonly staging: StagingPlace;
  user(): Promise<User>;
  /** Failures that can be known before anything is made. @throws SluiceError */
  check(spec: ProcessSpec): Promise<void>;
  /** Secrets of the process, by the name of their file. @throws SluiceError `config` */
  secretsOf(spec: ProcessSpec): Record<string, string>;
  /** Makes what a container of this image is to have. */
  prepare(spec: ProcessSpec, imageId: string, user: User): Promise<void>;
  /** Null when there is no folder. */
  read(directory: string, container: string): Promise<FolderContent | null>;
  /** As a whole, for the process's user alone; with a configuration the status of before goes. */
  write(
    directory: string,
    container: string,
    files: { configuration?: string; secrets: Record<string, string> },
    user: User,
  ): Promise<void>;
  /** Removes secrets that the process reads no more. */
  prune(directory: string, container: string, secrets: Record<string, string>, user: User): Promise<void>;
  /** Removes a process's folder, and verifies it. */
  remove(directory: string): Promise<void>;
  /** A container that a create has started, until it is done: `tether.ts`. */
  tie(directory: string, container: string, user: User): Promise<void>;
  untie(directory: string): Promise<void>;
  /** Ends gateways below `stateDir` that were tied to a provider that is gone. */
  sweep(stateDir: string, end: (directory: string) => Promise<void>): Promise<void>;
  dropTables(spec: ProcessSpec): Promise<void>;
}
