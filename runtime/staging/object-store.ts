/**
 * Where staging lives: a folder here, a volume elsewhere. Keys are relative, `/`-separated, ASCII.
 * Every put is durable when its promise resolves.
 */
export interface ObjectStore {
  /** For messages: a path or URL. */
  readonly location: string;
  /** Files that may be committed at a time. */
  readonly filesAtOnce: number;
  /** `null` when absent. */
  get(key: string): Promise<Buffer | null>;
  /** Replaces. For hints only: the truth is written by `putIfAbsent`. */
  put(key: string, content: Buffer | string): Promise<void>;
  /**
   * `false` when the key exists already; then nothing is written. What exists may be this very call's, of an earlier
   * attempt whose answer was lost: read and compare it. It is durable by then.
   */
  putIfAbsent(key: string, content: Buffer | string): Promise<boolean>;
  /** Keys below `prefix` (a folder, without its last slash) in order, after `after` where given; [] when there are none. */
  list(prefix: string, after?: string): Promise<string[]>;
  /** Succeeds when absent. */
  delete(key: string): Promise<void>;
  /** A local file to write for `key`; `commitFile` makes it durable under its key. */
  beginFile(key: string): Promise<string>;
  commitFile(key: string): Promise<{ bytes: number }>;
  /** A local path from which the object can be read until `releaseLocal`, one for each call. It never changes. */
  localPath(key: string): Promise<string>;
  /** Nobody reads the local path any more that a call of `localPath` gave. */
  releaseLocal(key: string): void;
  /** Where other programs find the object: a path of this machine, or `/Volumes/…`. */
  remotePath(key: string): string;
  /** Size of the objects below `prefix`, in bytes; null where it isn't known. */
  usedBytes(prefix: string): Promise<number | null>;
}
