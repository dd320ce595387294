import { join } from "node:path";
import { SluiceError } from "../../errors";
import type { DuckDbSession } from "../duckdb-session";
import type { Action, AddFile, MetaData } from "./actions";
import { findCheckpoint, readCheckpoint, writeCheckpoint } from "./checkpoint";
import { damaged, listCommits, listLog, logFolder, putDeltaCommit, readDeltaCommit } from "./delta-log";
import { DeltaSnapshot } from "./delta-snapshot";
import { cleanLog } from "./log-cleanup";
import { logRetentionMs } from "./retention";

/** Features of the protocol that this writer keeps to. */
const knownFeatures = new Set([
  "appendOnly",
  "changeDataFeed",
  "columnMapping",
  "deletionVectors",
  "invariants",
  "timestampNtz",
]);

/** Commits between two checkpoints. */
const checkpointInterval = 20;

/** How far back the newest commit of ours is looked for. */
const ownCommitsBack = 200;

/** A local Delta table, or the place where one will be: its newest known snapshot, and commits to it. */
export class DeltaTable {
  private constructor(
    readonly path: string,
    readonly snapshot: DeltaSnapshot,
    private readonly session: DuckDbSession,
  ) {}

  /**
   * Reads the table's newest version; `exists` is false where there is none.
   * @throws SluiceError `destination` when the log is damaged, `unsupported` when it has features unknown here
   */
  static async open(path: string, session: DuckDbSession): Promise<DeltaTable> {
    const snapshot = new DeltaSnapshot();
    const checkpoint = await findCheckpoint(path);
    if (checkpoint !== null) snapshot.restore(checkpoint.version, await readCheckpoint(checkpoint, session));
    const table = new DeltaTable(path, snapshot, session);
    const newest = (await listCommits(path)).at(-1) ?? snapshot.version;
    await table.refresh();
    if (snapshot.version < newest) {
      await table.refuseNewerCheckpoints();
      throw damaged(logFolder(path), new Error(`version ${snapshot.version + 1} is missing`));
    }
    await table.findOwnCommit();
    return table;
  }

  /**
   * Reads an older version, for its rows only: a commit to it is refused, as the next version is there.
   * @throws SluiceError `destination` when its log is no longer whole
   */
  static async openVersion(path: string, version: number, session: DuckDbSession): Promise<DeltaTable> {
    const snapshot = new DeltaSnapshot();
    const checkpoint = await findCheckpoint(path, version);
    if (checkpoint !== null) snapshot.restore(checkpoint.version, await readCheckpoint(checkpoint, session));
    while (snapshot.version < version) {
      const actions = await readDeltaCommit(path, snapshot.version + 1);
      if (actions === null) throw damaged(logFolder(path), new Error(`version ${snapshot.version + 1} is missing`));
      snapshot.apply(snapshot.version + 1, actions);
    }
    const table = new DeltaTable(path, snapshot, session);
    await table.findOwnCommit();
    return table;
  }

  /**
   * The last version of a table before another took its place: whatever was committed after the newest txn of an
   * application and before the metadata of the other. Null where the log doesn't go back so far.
   */
  async lastVersionBefore(appId: string, isOthers: (metaData: MetaData) => boolean): Promise<number | null> {
    let last = this.snapshot.version;
    for (let version = this.snapshot.version; version >= 0; version--) {
      const actions = await readDeltaCommit(this.path, version);
      if (actions === null) return null;
      if (actions.some(({ txn }) => txn?.appId === appId)) return last;
      if (actions.some(({ metaData }) => metaData !== undefined && isOthers(metaData))) last = version - 1;
    }
    return null;
  }

  get exists(): boolean {
    return this.snapshot.version >= 0;
  }

  /** Reads the commits of others since. */
  async refresh(): Promise<void> {
    for (;;) {
      const actions = await readDeltaCommit(this.path, this.snapshot.version + 1);
      if (actions === null) break;
      this.snapshot.apply(this.snapshot.version + 1, actions);
    }
    this.checkProtocol();
  }

  /** False when another writer was first: `refresh` and plan again. */
  async commit(actions: Action[]): Promise<boolean> {
    const version = this.snapshot.version + 1;
    if (!(await putDeltaCommit(this.path, version, actions))) return false;
    this.snapshot.apply(version, actions);
    return true;
  }

  get checkpointIsDue(): boolean {
    return this.snapshot.version > 0 && this.snapshot.version % checkpointInterval === 0;
  }

  /** Also removes what of the log no version within its retention needs. */
  async writeCheckpoint(): Promise<void> {
    await writeCheckpoint(this.path, this.snapshot, this.session);
    await cleanLog(this.path, logRetentionMs(this.snapshot.metaData?.configuration));
  }

  filePath(file: AddFile): string {
    return join(this.path, decodeURIComponent(file.path));
  }

  private async findOwnCommit(): Promise<void> {
    const { snapshot } = this;
    for (let version = snapshot.version; snapshot.newestOwn === null && version >= 0; version--) {
      if (version < snapshot.version - ownCommitsBack) return;
      const actions = await readDeltaCommit(this.path, version);
      if (actions === null) return;
      for (const { commitInfo } of actions) if (commitInfo?.sluice) snapshot.newestOwn = commitInfo.sluice;
    }
  }

  /** Checkpoints of the protocol's second kind (named by a uuid) may hold what the log has no more. */
  private async refuseNewerCheckpoints(): Promise<void> {
    const found = (await listLog(this.path)).find((name) =>
      /^\d{20}\.checkpoint\.[\da-f-]{36}\.(json|parquet)$/.test(name),
    );
    if (found === undefined) return;
    throw new SluiceError("unsupported", `Delta table ${this.path} has checkpoints of the kind v2 (${found})`, {
      remedy:
        "Set delta.checkpointPolicy to classic and drop the feature v2Checkpoint, or choose another destination path.",
    });
  }

  private checkProtocol(): void {
    const { protocol } = this.snapshot;
    if (protocol === null) {
      if (this.exists) throw damaged(logFolder(this.path), new Error("it has no protocol action"));
      return;
    }
    const features = [...(protocol.readerFeatures ?? []), ...(protocol.writerFeatures ?? [])];
    const unknown = [...new Set(features.filter((feature) => !knownFeatures.has(feature)))];
    if (unknown.length === 0 && protocol.minReaderVersion <= 3 && protocol.minWriterVersion <= 7) return;
    const what = unknown.length > 0 ? `features ${unknown.join(", ")}` : "a newer protocol";
    throw new SluiceError("unsupported", `Delta table ${this.path} needs ${what}, which this version can't write`, {
      remedy: "Drop the features (ALTER TABLE … DROP FEATURE), or choose another destination path.",
    });
  }
}
