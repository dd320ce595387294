import { parseLsn } from "../postgres/lsn";
import type { StagedCommit, StagedEvent, StagedFile, StagedTransaction } from "../staging/staged-commit";

/** A file of changes; `transaction`: the one that all its rows belong to, where they don't say so themselves. */
export type ChangesFile = StagedFile & { transaction?: StagedTransaction };

/** What is done to a table, in this order, in one commit of its Delta log. Pure: no I/O here. */
export type ApplyStep =
  /** its content becomes that of a snapshot, with this schema */
  | { kind: "replace"; schemaId: number; files: StagedFile[]; point: CommitPoint }
  | { kind: "truncate"; schemaId: number; point: CommitPoint }
  /** rows get this schema, and the fill's values in new columns; changes from here on have it */
  | { kind: "schema"; schemaId: number; fill: StagedFile | null }
  | { kind: "changes"; schemaId: number; files: ChangesFile[] };

/** A point of the source's history that no change's own row tells. */
export interface CommitPoint {
  /** null when it isn't known */
  commitLsn: bigint | null;
  commitTimeMicros: bigint;
}

export interface ApplyPlan {
  steps: ApplyStep[];
  /** the table holds everything staged up to this sequence once the plan is carried out */
  sequence: number;
  /** rows and changes as staged: independent of how records fall into batches */
  upserted: number;
  deleted: number;
  /** staged changes that are in none of the steps, as a snapshot took the place of what couldn't be applied */
  dropped: number;
  /** of staged changes, to bound a batch */
  changeBytes: number;
}

/** A snapshot whose end isn't staged yet, with the changes since its begin. */
interface OpenSnapshot {
  snapshotId: string;
  schemaId: number;
  files: StagedFile[];
  rows: number;
  /** before every change that comes after it */
  point: CommitPoint;
  changes: ApplyPlan;
}

/** Folds a table's staged events, record after record, into what is to be done. */
export interface PlanState {
  /** to be applied: nothing of an open snapshot */
  ready: ApplyPlan;
  open: OpenSnapshot | null;
  /** nothing up to here is missing in the table; `ready` comes after it */
  baseSequence: number;
  /** newest record folded */
  scannedSequence: number;
  /** left the publication */
  removed: boolean;
  /** every change counts, also those that a snapshot or TRUNCATE makes void for the rows of now */
  keepsHistory: boolean;
}

export function startPlan(appliedSequence: number, removed = false, keepsHistory = false): PlanState {
  return {
    ready: emptyPlan(appliedSequence),
    open: null,
    baseSequence: appliedSequence,
    scannedSequence: appliedSequence,
    removed,
    keepsHistory,
  };
}

/** The state once `ready` is carried out. */
export function afterApply(state: PlanState): PlanState {
  return { ...state, ready: emptyPlan(state.ready.sequence), baseSequence: state.ready.sequence };
}

function emptyPlan(sequence: number): ApplyPlan {
  return { steps: [], sequence, upserted: 0, deleted: 0, dropped: 0, changeBytes: 0 };
}

export type RecordHead = Pick<StagedCommit, "sequence" | "startLsn" | "stagedAt">;

/** The plan after one more record; `events`: those of this table, in order (maybe none). */
export function foldRecord(state: PlanState, record: RecordHead, events: StagedEvent[]): PlanState {
  const { sequence } = record;
  let next: PlanState = { ...state, scannedSequence: sequence };
  for (const event of events) next = foldEvent(next, event, record);
  // While a snapshot is open the table stays at the record before its begin.
  if (next.open === null) next.ready = { ...next.ready, sequence };
  return next.ready.steps.length === 0 ? { ...next, baseSequence: next.ready.sequence } : next;
}

function foldEvent(state: PlanState, event: StagedEvent, record: RecordHead): PlanState {
  switch (event.kind) {
    case "snapshot-begin": {
      const open = {
        snapshotId: event.snapshotId,
        schemaId: event.schemaId,
        files: [],
        rows: 0,
        point: { commitLsn: parseLsn(record.startLsn), commitTimeMicros: stagedMicros(record) },
        changes: emptyPlan(0),
      };
      return { ...state, open, removed: false };
    }
    case "snapshot-rows": {
      const { open } = state;
      if (open?.snapshotId !== event.snapshotId) return state;
      const rows = open.rows + event.files.reduce((sum, file) => sum + file.rows, 0);
      return { ...state, open: { ...open, files: [...open.files, ...event.files], rows } };
    }
    case "snapshot-end": {
      const { open } = state;
      if (open?.snapshotId !== event.snapshotId) return state;
      return { ...state, open: null, ready: close(state.ready, open, state.keepsHistory) };
    }
    case "removed":
      return { ...state, open: null, removed: true };
    case "truncate":
    case "schema":
    case "changes": {
      const { open, ready, keepsHistory } = state;
      if (open === null) return { ...state, ready: addStep(ready, event, record, keepsHistory) };
      return { ...state, open: { ...open, changes: addStep(open.changes, event, record, keepsHistory) } };
    }
  }
}

/** What was to be done before the snapshot needs no doing any more, but for a table's history; it still counts. */
function close(before: ApplyPlan, open: OpenSnapshot, keepsHistory: boolean): ApplyPlan {
  const { changes, schemaId, point } = open;
  // The end of a snapshot is staged behind what the stream had until then, a TRUNCATE of its rows too.
  const isVoid = !keepsHistory && changes.steps.some((step) => step.kind === "truncate");
  const files = isVoid ? [] : open.files;
  return {
    steps: [...(keepsHistory ? before.steps : []), { kind: "replace", schemaId, files, point }, ...changes.steps],
    sequence: before.sequence,
    upserted: before.upserted + open.rows + changes.upserted,
    deleted: before.deleted + changes.deleted,
    dropped: 0,
    changeBytes: (keepsHistory ? before.changeBytes : 0) + changes.changeBytes,
  };
}

function addStep(
  plan: ApplyPlan,
  event: Extract<StagedEvent, { kind: "truncate" | "schema" | "changes" }>,
  record: RecordHead,
  keepsHistory: boolean,
): ApplyPlan {
  switch (event.kind) {
    case "truncate": {
      const step: ApplyStep = {
        kind: "truncate",
        schemaId: event.schemaId,
        point: pointOf(event.transaction, record),
      };
      if (keepsHistory) return { ...plan, steps: [...plan.steps, step] };
      // Rows changed just before need not be written; a schema or a snapshot's schema must be kept.
      const [first] = plan.steps;
      const replaced: ApplyStep[] = first?.kind === "replace" ? [{ ...first, files: [] }] : [];
      const schemas = plan.steps.flatMap((step): ApplyStep[] =>
        step.kind === "schema" ? [{ ...step, fill: null }] : [],
      );
      return { ...plan, steps: [...replaced, step, ...schemas], changeBytes: 0 };
    }
    case "schema":
      return {
        ...plan,
        steps: [...plan.steps, { kind: "schema", schemaId: event.schemaId, fill: event.fill ?? null }],
      };
    case "changes": {
      const counted = {
        upserted: plan.upserted + event.inserts + event.updates,
        deleted: plan.deleted + event.deletes,
        changeBytes: plan.changeBytes + event.files.reduce((sum, file) => sum + file.bytes, 0),
      };
      return { ...plan, ...counted, steps: addChanges(plan.steps, event) };
    }
  }
}

/** Of all staged files that the plan applies. */
export function stagedBytes({ steps }: ApplyPlan): number {
  const files = steps.flatMap((step) => ("files" in step ? step.files : []));
  return files.reduce((sum, file) => sum + file.bytes, 0);
}

/** Some of its changes are in files without rows before updates. */
export function lacksBeforeImages({ steps }: ApplyPlan): boolean {
  return steps.some((step) => step.kind === "changes" && step.files.some(({ beforeImages }) => !beforeImages));
}

/** The plan without what comes before its first snapshot; empty when it has none. */
export function sinceSnapshot(plan: ApplyPlan): ApplyPlan {
  const first = plan.steps.findIndex((step) => step.kind === "replace");
  return { ...plan, steps: first < 0 ? [] : plan.steps.slice(first) };
}

function pointOf(
  transaction: { commitLsn: string; commitTimeMicros: string } | undefined,
  record: RecordHead,
): CommitPoint {
  if (transaction === undefined) return { commitLsn: null, commitTimeMicros: stagedMicros(record) };
  return { commitLsn: BigInt(transaction.commitLsn), commitTimeMicros: BigInt(transaction.commitTimeMicros) };
}

function stagedMicros({ stagedAt }: RecordHead): bigint {
  return BigInt(Date.parse(stagedAt)) * 1_000n;
}

/** The schema that the table has after the plan; null when no step says. */
export function schemaAfter({ steps }: ApplyPlan): number | null {
  return steps.at(-1)?.schemaId ?? null;
}

/** Consecutive changes of one schema are one step. */
function addChanges(steps: ApplyStep[], event: Extract<StagedEvent, { kind: "changes" }>): ApplyStep[] {
  const { schemaId, transaction } = event;
  const files = transaction === undefined ? event.files : event.files.map((file) => ({ ...file, transaction }));
  const last = steps.at(-1);
  if (last?.kind !== "changes" || last.schemaId !== schemaId) return [...steps, { kind: "changes", schemaId, files }];
  return [...steps.slice(0, -1), { kind: "changes", schemaId, files: [...last.files, ...files] }];
}
