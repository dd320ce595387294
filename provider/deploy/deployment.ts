import type { RuntimeConfigInput } from "../../runtime/config";
import type { SluiceError } from "../../runtime/errors";
import type { StatusDocument } from "../../runtime/status";

/** One process of the runtime, as it shall run. */
export interface ProcessSpec {
  /** the process's own folder: configuration, status, logs; absolute */
  directory: string;
  config: RuntimeConfigInput;
  /** names of environment variables that hold secrets it needs; nothing else of ours is passed on */
  secretVariables: string[];
  /**
   * files of `directory` that hold secrets: name, ending with `.secret`, to content. For this user alone; a process reads
   * them at each connection, so another content needs no restart
   */
  secretFiles: Record<string, string>;
  /** how long it may take until it is healthy */
  startTimeoutMs: number;
  /** how long it may take to flush and end */
  stopTimeoutMs: number;
}

/** What a process was started with. */
export interface Settings {
  configuration: string;
  /** secret files of its folder that others can't read, name to SHA-256; undefined where they can't be looked at */
  secrets?: Record<string, string>;
  /** of the runtime, by its status document; undefined where there is none */
  version?: string;
  /** what else of it isn't as it was applied, a sentence without a full stop each; left out where nothing is */
  changed?: string[];
}

/** What is there now. */
export type Inspection =
  | { kind: "absent" }
  | ({ kind: "running" } & Settings)
  /** it ended by itself with code 0: a triggered run that is done */
  | ({ kind: "finished" } & Settings)
  | ({ kind: "failed"; message: string; remedy?: string } & Settings)
  | ({ kind: "dead" } & Settings)
  /** something else has its name */
  | { kind: "foreign"; what: string };

/** What a target tells of what it made; outputs of the resource. */
export interface Applied {
  /** of the image that a container was made of */
  imageDigest?: string;
}

export interface StagingOwner {
  deploymentId: string;
  incarnation: string;
  /** it was there before the gateway: a create that was killed leaves it (`sweep`) */
  adopted?: true;
}

/** What is where a staging log shall be, or is. */
export type StagingFound =
  | { kind: "free" }
  | { kind: "owned"; owner: StagingOwner; log?: StagingLogFound }
  /** it holds what no gateway of ours wrote; with a log it is of one that no stack knows */
  | { kind: "foreign"; log?: StagingLogFound };

/** A gateway has begun its log there: what it staged can be gone on with. */
export interface StagingLogFound {
  /** The log's identity, which the tables have that were made of it; null where nothing readable says it. */
  readId(): Promise<string | null>;
  /** Makes it this owner's with all that is in it; returns what puts its former owner back. */
  adopt(owner: StagingOwner): Promise<() => Promise<void>>;
}

/** Where staging logs lie; each is known by its path, and by whose it is. Throws SluiceError. */
export interface StagingPlace {
  /** Changes nothing. */
  inspect(path: string, deploymentId: string): Promise<StagingFound>;
  /** Makes an empty one; what a create of this deployment left behind is emptied. */
  make(path: string, owner: StagingOwner): Promise<void>;
  /** Removes what is this owner's, and verifies it; false when it is another's, and stays. */
  remove(path: string, owner: StagingOwner): Promise<boolean>;
}

/**
 * Where processes of the runtime live: three verbs, each idempotent and throwing SluiceError; a process is known by its
 * folder. An apply that fails leaves what it found.
 */
export interface Deployment {
  /** folders and ports of its processes are those of this machine */
  isHere: boolean;
  staging: StagingPlace;
  /**
   * What would fail, as far as it can be known at a preview, without changing anything.
   * @param spec null while inputs aren't known
   */
  preflight(spec: ProcessSpec | null): Promise<SluiceError | null>;
  /**
   * Makes it run as specified and waits until it is healthy; one that already does, in this version, is left alone.
   * `tethered`: until `keep` one that is started ends when this process is gone (by itself, or by `sweep`), so that no one
   * is left that nobody knows.
   */
  apply(spec: ProcessSpec, options?: { tethered?: boolean }): Promise<Applied>;
  keep(directory: string): Promise<void>;
  /** Changes nothing. */
  inspect(directory: string): Promise<Inspection>;
  /** What the process says of itself; null while it has said nothing. */
  status(directory: string): Promise<StatusDocument | null>;
  /** Stops it, verifies that it is gone, and removes its folder. */
  remove(directory: string, stopTimeoutMs: number): Promise<void>;
  /** Drops the tables that an applier, which is gone, has made; idempotent. */
  dropTables(spec: ProcessSpec): Promise<void>;
  /** Removes the folders below `stateDir` of tethered processes that were never kept. */
  sweep(stateDir: string, stopTimeoutMs: number): Promise<void>;
}

/** The configuration file's text: what `apply` writes and `inspect` returns. */
export function renderConfiguration(config: RuntimeConfigInput): string {
  return `${JSON.stringify(config, null, 2)}\n`;
}
