import { SluiceError } from "../../errors";
import {
  type Action,
  type AddFile,
  type CommitInfo,
  type DomainMetadata,
  type MetaData,
  type Protocol,
  type RemoveFile,
  recordCount,
  type Txn,
} from "./actions";

export interface CheckpointFiles {
  version: number;
  /** absolute */
  paths: string[];
}

/** What a Delta table is at a version: the reconciliation of its log's actions (protocol, "Action Reconciliation"). */
export class DeltaSnapshot {
  version = -1;
  protocol: Protocol | null = null;
  metaData: MetaData | null = null;
  /** active files by path */
  readonly files = new Map<string, AddFile>();
  /**
   * files removed since `checkpoint` that a reader of an older version may need, by path and deletion vector; those
   * before are in the checkpoint only
   */
  readonly tombstones = new Map<string, RemoveFile>();
  /** the checkpoint that has the tombstones before; null when there are none */
  checkpoint: CheckpointFiles | null = null;
  /** newest txn of each application */
  readonly txns = new Map<string, Txn>();
  /** metadata of each domain that isn't gone, also of those that mean nothing here */
  readonly domains = new Map<string, DomainMetadata>();
  /** what the newest commit of ours says; null when none was read (a checkpoint holds none) */
  newestOwn: CommitInfo["sluice"] | null = null;

  /** Takes the next commit; within one commit removes go before adds, whatever their order. */
  apply(version: number, actions: Action[]): void {
    if (version !== this.version + 1) {
      throw new SluiceError("internal", `Delta snapshot: version ${version} doesn't follow ${this.version}`);
    }
    for (const { remove } of actions) if (remove !== undefined) this.remove(remove);
    for (const action of actions) this.take(action);
    this.forgetVectors(actions);
    this.version = version;
  }

  /** The version's checkpoint has all that is to be known of removed files. */
  checkpointed(paths: string[]): void {
    this.tombstones.clear();
    this.checkpoint = { version: this.version, paths };
  }

  /**
   * A file that only got another deletion vector is still there: its tombstone keeps the file of its former vector, and
   * nothing where there is none. One is enough for all vectors of a file.
   */
  private forgetVectors(actions: Action[]): void {
    const kept = new Set<string>();
    for (const { remove } of actions) {
      if (remove === undefined || !this.files.has(remove.path)) continue;
      const vector = remove.deletionVector;
      const file = vector && vector.storageType !== "i" ? vector.pathOrInlineDv : null;
      if (file === null || kept.has(file)) this.tombstones.delete(fileKey(remove));
      else kept.add(file);
    }
  }

  /** Starts from a checkpoint's actions, tombstones apart. */
  restore(checkpoint: CheckpointFiles, actions: Iterable<Action>): void {
    for (const action of actions) this.take(action);
    this.version = checkpoint.version;
    this.checkpoint = checkpoint;
  }

  private take(action: Action): void {
    if (action.protocol !== undefined) this.protocol = action.protocol;
    if (action.metaData !== undefined) this.metaData = action.metaData;
    if (action.txn !== undefined) this.txns.set(action.txn.appId, action.txn);
    if (action.domainMetadata !== undefined) {
      const { domain, removed } = action.domainMetadata;
      if (removed) this.domains.delete(domain);
      else this.domains.set(domain, action.domainMetadata);
    }
    if (action.commitInfo?.sluice !== undefined) this.newestOwn = action.commitInfo.sluice;
    if (action.add !== undefined) {
      this.files.set(action.add.path, action.add);
      this.tombstones.delete(fileKey(action.add));
    }
  }

  private remove(remove: RemoveFile): void {
    const active = this.files.get(remove.path);
    if (active !== undefined && fileKey(active) === fileKey(remove)) this.files.delete(remove.path);
    this.tombstones.set(fileKey(remove), remove);
  }
}

/** A logical file is a path with its deletion vector. */
function fileKey(file: AddFile | RemoveFile): string {
  const vector = file.deletionVector;
  if (vector === null || vector === undefined) return file.path;
  return `${file.path}\0${vector.storageType}${vector.pathOrInlineDv}@${vector.offset ?? ""}`;
}

export function sameFile(a: AddFile, b: AddFile): boolean {
  return fileKey(a) === fileKey(b);
}

/** Rows that a reader of the snapshot sees; files whose count is unknown count as empty. */
export function liveRows(snapshot: DeltaSnapshot): number {
  let rows = 0;
  for (const add of snapshot.files.values()) rows += (recordCount(add) ?? 0) - (add.deletionVector?.cardinality ?? 0);
  return rows;
}
