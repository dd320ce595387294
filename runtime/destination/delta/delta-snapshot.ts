import { SluiceError } from "../../errors";
import {
  type Action,
  type AddFile,
  type CommitInfo,
  type MetaData,
  type Protocol,
  type RemoveFile,
  recordCount,
  type Txn,
} from "./actions";

/** What a Delta table is at a version: the reconciliation of its log's actions (protocol, "Action Reconciliation"). */
export class DeltaSnapshot {
  version = -1;
  protocol: Protocol | null = null;
  metaData: MetaData | null = null;
  /** active files by path */
  readonly files = new Map<string, AddFile>();
  /** removed files that a reader of an older version may need, by path and deletion vector */
  readonly tombstones = new Map<string, RemoveFile>();
  /** newest txn of each application */
  readonly txns = new Map<string, Txn>();
  /** what the newest commit of ours says; null when none was read (a checkpoint holds none) */
  newestOwn: CommitInfo["sluice"] | null = null;

  /** Takes the next commit; within one commit removes go before adds, whatever their order. */
  apply(version: number, actions: Action[]): void {
    if (version !== this.version + 1) {
      throw new SluiceError("internal", `Delta snapshot: version ${version} doesn't follow ${this.version}`);
    }
    for (const { remove } of actions) if (remove !== undefined) this.remove(remove);
    for (const action of actions) this.take(action);
    this.version = version;
  }

  /** Starts from a checkpoint's actions. */
  restore(version: number, actions: Iterable<Action>): void {
    for (const action of actions) {
      if (action.remove !== undefined) this.tombstones.set(fileKey(action.remove), action.remove);
      this.take(action);
    }
    this.version = version;
  }

  private take(action: Action): void {
    if (action.protocol !== undefined) this.protocol = action.protocol;
    if (action.metaData !== undefined) this.metaData = action.metaData;
    if (action.txn !== undefined) this.txns.set(action.txn.appId, action.txn);
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
