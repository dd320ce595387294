import { rm } from "node:fs/promises";
import { join } from "node:path";
import { SluiceError } from "../../errors";
import type { DuckDbSession } from "../duckdb-session";
import type { Action, AddFile, MetaData, Protocol, RemoveFile } from "./actions";
import { listCheckpoints, readCheckpoint, readTombstones, writeCheckpoint } from "./checkpoint";
import {
  DamagedLogError,
  damaged,
  listCommits,
  listLog,
  logFolder,
  putDeltaCommit,
  readDeltaCommit,
} from "./delta-log";
import { type CheckpointFiles, DeltaSnapshot } from "./delta-snapshot";
import { cleanLog } from "./log-cleanup";
import { logRetentionMs } from "./retention";
import { assertMayRemove, assertSupported } from "./table-support";

/**
 * Commits between two checkpoints: more when a checkpoint is large, as each holds all; what a commit costs in them is flat.
 */
const checkpointIntervalMin = 20;
const checkpointIntervalMax = 200;
const actionsPerCommit = 200;

/** A look at the whole log takes longer the more there is of it: a hundredth of the time at most. */
const cleaningRest = 100;

/** How far back the newest commit of ours is looked for. */
const ownCommitsBack = 200;

interface Restored {
  snapshot: DeltaSnapshot;
  damagedCheckpoints: (CheckpointFiles & { error: DamagedLogError })[];
}

/** A local Delta table, or the place where one will be: its newest known snapshot, and commits to it. */
export class DeltaTable {
  private checked: { protocol: Protocol; metaData: MetaData } | null = null;
  /** the last one, or the attempt at one, and how many actions it has, as far as known */
  private readonly checkpoint: { triedVersion: number; size: number };

  private cleanAfterMs = 0;

  private constructor(
    readonly path: string,
    readonly snapshot: DeltaSnapshot,
    private readonly session: DuckDbSession,
    private damagedCheckpoints: Restored["damagedCheckpoints"],
  ) {
    this.checkpoint = { triedVersion: snapshot.checkpoint?.version ?? 0, size: snapshot.files.size };
  }

  /**
   * Reads the table's newest version; `exists` is false where there is none.
   * @throws SluiceError `destination` when the log is damaged, `unsupported` when it has features unknown here
   */
  static async open(path: string, session: DuckDbSession): Promise<DeltaTable> {
    const { snapshot, damagedCheckpoints } = await restoreNewest(path, session);
    const table = new DeltaTable(path, snapshot, session, damagedCheckpoints);
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
    const { snapshot } = await restoreNewest(path, session, version);
    while (snapshot.version < version) {
      const actions = await readDeltaCommit(path, snapshot.version + 1);
      if (actions === null) throw damaged(logFolder(path), new Error(`version ${snapshot.version + 1} is missing`));
      snapshot.apply(snapshot.version + 1, actions);
    }
    const table = new DeltaTable(path, snapshot, session, []);
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
    if (actions.some(({ remove }) => remove?.dataChange)) assertMayRemove(this.path, this.snapshot.metaData);
    if (!(await putDeltaCommit(this.path, version, actions))) return false;
    this.snapshot.apply(version, actions);
    return true;
  }

  /** What was passed over when the table was read; a new checkpoint takes its place. */
  get damage(): string[] {
    return this.damagedCheckpoints.map(({ error }) => error.message);
  }

  get checkpointIsDue(): boolean {
    if (this.damagedCheckpoints.length > 0) return true;
    const wanted = Math.ceil(this.checkpoint.size / actionsPerCommit);
    const interval = Math.min(checkpointIntervalMax, Math.max(checkpointIntervalMin, wanted));
    return this.snapshot.version - this.checkpoint.triedVersion >= interval;
  }

  /** Files removed since a time that versions of before have. */
  tombstones(sinceMs: number): Promise<RemoveFile[]> {
    return readTombstones(this.path, this.snapshot, sinceMs, this.session);
  }

  /** Also removes what of the log no version within its retention needs. @returns how many files that were */
  async writeCheckpoint(): Promise<number> {
    const { version } = this.snapshot;
    this.checkpoint.triedVersion = version;
    this.checkpoint.size = await writeCheckpoint(this.path, this.snapshot, this.session);
    // Log clean-up, and other readers, would build on them.
    for (const damagedCheckpoint of this.damagedCheckpoints.splice(0)) {
      if (damagedCheckpoint.version === version && damagedCheckpoint.paths.length === 1) continue;
      for (const path of damagedCheckpoint.paths) await rm(path, { force: true });
    }
    const startedMs = performance.now();
    if (startedMs < this.cleanAfterMs) return 0;
    const cleaned = await cleanLog(this.path, logRetentionMs(this.snapshot.metaData?.configuration));
    this.cleanAfterMs = performance.now() + (performance.now() - startedMs) * cleaningRest;
    return cleaned;
  }

  /** @throws SluiceError `unsupported` when it isn't in the table's folder (protocol, "Add File": a path may be a URI) */
  filePath(file: AddFile): string {
    if (/^[a-z][a-z\d+.-]*:|^\//i.test(file.path)) {
      throw new SluiceError("unsupported", `Delta table ${this.path} has a file elsewhere: ${file.path}`, {
        remedy: "Such as a shallow clone: make it a table of its own, or choose another destination path.",
      });
    }
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
    const { protocol, metaData } = this.snapshot;
    if (!this.exists) return;
    if (protocol === null) throw damaged(logFolder(this.path), new Error("it has no protocol action"));
    if (metaData === null) throw damaged(logFolder(this.path), new Error("it has no metaData action"));
    if (this.checked?.protocol === protocol && this.checked.metaData === metaData) return;
    assertSupported(this.path, protocol, metaData);
    this.checked = { protocol, metaData };
  }
}

/**
 * The newest whole checkpoint up to a version, as a snapshot. A damaged one is passed over for one before it, or for
 * none, where the commits since are there.
 */
async function restoreNewest(path: string, session: DuckDbSession, versionMax?: number): Promise<Restored> {
  const [checkpoints, commits] = await Promise.all([listCheckpoints(path, versionMax), listCommits(path)]);
  const present = new Set(commits);
  const damagedCheckpoints: Restored["damagedCheckpoints"] = [];
  for (const checkpoint of [...checkpoints, null]) {
    const snapshot = new DeltaSnapshot();
    const newest = damagedCheckpoints.at(0);
    if (newest !== undefined && !followed(present, checkpoint?.version ?? -1, newest.version)) continue;
    if (checkpoint === null) return { snapshot, damagedCheckpoints };
    try {
      snapshot.restore(checkpoint, await readCheckpoint(checkpoint, session));
      return { snapshot, damagedCheckpoints };
    } catch (error) {
      if (!(error instanceof DamagedLogError)) throw error;
      damagedCheckpoints.push({ ...checkpoint, error });
    }
  }
  throw damagedCheckpoints[0].error;
}

/** Whether every commit after `from` up to `to` is there. */
function followed(commits: ReadonlySet<number>, from: number, to: number): boolean {
  for (let version = from + 1; version <= to; version++) if (!commits.has(version)) return false;
  return true;
}
