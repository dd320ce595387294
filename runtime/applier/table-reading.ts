import { foldRecord, type PlanState } from "../destination/apply-plan";
import { DamagedLogError } from "../destination/delta/delta-log";
import { SluiceError } from "../errors";
import { log } from "../operate/log";
import { requestSnapshot } from "../staging/resync-request";
import { readLogBegin } from "../staging/staging-log";
import type { TableDamage } from "./table-damage";
import { type DropOutcome, dropTable } from "./table-drop";
import { notOurs } from "./table-errors";
import { findHome, isOwned, isSamePlace, type Place, type TableHome } from "./table-home";
import { changesBeforeSnapshot, setDamagedAside } from "./table-recovery";
import type { TableState } from "./table-state";

/** Records folded in one turn, so that tables take turns. */
const recordsMax = 500;

/** Finds a table and its position, and folds what is staged behind it into a plan. */
export class TableReading {
  constructor(
    private readonly state: TableState,
    private readonly damage: TableDamage,
  ) {}

  /** What is to be done next, as far as it is staged; a table that has left is dropped on the way, where it is to be. */
  async fold(): Promise<PlanState> {
    const { state } = this;
    const { records, batchBytesMax, saveProgress } = state.context;
    if (state.known.dropping) await this.drop();
    let plan = state.plan ?? state.newPlan(await this.startSequence(), state.known.removed);
    let isThere = !state.known.removed;
    // What a table waits for that can't go on may be anywhere in the log: a new name, or the snapshot that heals it.
    const looksAhead = state.isBlocked || state.failure !== null;
    const last = Math.min(records.head, looksAhead ? records.head : plan.scannedSequence + recordsMax);
    while (plan.scannedSequence < last && (looksAhead || plan.ready.changeBytes < batchBytesMax)) {
      const record = await records.read(plan.scannedSequence + 1);
      plan = foldRecord(plan, record, record.events.get(state.tableId) ?? []);
      // It may have come back and left again since the last turn.
      if (!plan.removed) isThere = true;
      if (!plan.removed || !isThere || state.onRemove === "keep") continue;
      isThere = false;
      // Nothing of before counts any more, and what may come after is another snapshot.
      const { scannedSequence: sequence } = plan;
      state.known = { ...state.known, removed: true, dropping: true, heldSequence: null, sequence };
      await saveProgress();
      await this.drop();
      plan = state.newPlan(sequence, true);
    }
    state.setPlan(plan);
    return plan;
  }

  /** Whether a place is a table's by the newest staged record. */
  async claims(tableId: string, place: Place): Promise<boolean> {
    const newest = (await this.newestTables())[tableId];
    return newest !== undefined && isSamePlace(this.state.targets.placeOf(newest), place);
  }

  /** Changes that a new snapshot makes needless, which a quarantined table never got. */
  async passedOver(baseSequence: number): Promise<number> {
    const { known, context, tableId } = this.state;
    if (known.quarantinedAt === undefined) return 0;
    return (await changesBeforeSnapshot(context.records, tableId, await this.readable(baseSequence))) ?? 0;
  }

  /** The table has left: what the destination has of it goes, or stays where it is another's by now. */
  private async drop(): Promise<void> {
    const { state } = this;
    const { tableId, place, targets, owner, context } = state;
    const others = Object.entries(await this.newestTables()).filter(([id]) => id !== tableId);
    const isWanted = others.some(([, other]) => isSamePlace(targets.placeOf(other), place));
    const outcome: DropOutcome = isWanted
      ? { kind: "kept", reason: "another table has its name now, and takes its place" }
      : await dropTable(place, owner, context);
    if (outcome.kind !== "absent") {
      log(outcome.kind === "kept" ? "warning" : "info", `table-${outcome.kind}`, {
        table: state.label,
        ...(outcome.kind === "kept" ? { reason: outcome.reason } : {}),
      });
    }
    const { dropping: _done, quarantinedAt: _over, ...known } = state.known;
    state.known = known;
    state.lacksPurged = false;
    state.waits = false;
    state.setHome(await this.findHome());
  }

  /** The table's own position decides; what is known beside it only when the two agree. */
  private async startSequence(): Promise<number> {
    const { state } = this;
    const { heldSequence, sequence } = state.known;
    const { records } = state.context;
    const { head } = records;
    state.setHome(await this.findHome());
    await this.damage.lookForMissing();
    const { held } = state;
    if (held !== null && held > head) {
      throw new SluiceError("staging", `${state.label} holds staged commit ${held}, but staging ends at ${head}`, {
        remedy: "Staging was set back: restore it, or replace the gateway to take new snapshots of all tables.",
      });
    }
    const known = held === null ? (heldSequence === null ? sequence : 0) : held;
    const start = held !== null && held >= (heldSequence ?? 0) ? Math.max(held, sequence) : known;
    // What is purged was in every table: this one was set back, or removed by hand.
    const tail = await records.tail();
    state.lacksPurged = start < head && start + 1 < tail;
    if (state.lacksPurged) return tail - 1;
    if (!(await this.awaitsSnapshot())) return start;
    state.lacksPurged = true;
    return state.known.sequence;
  }

  /**
   * The rows of now are another log's, which was applied on while this one had begun. The newest snapshot may be older
   * than they are: a table that keeps what was would go back to it, and have changes twice. So it asks for another one,
   * which is newer, since nobody else writes the table any more.
   */
  private async awaitsSnapshot(): Promise<boolean> {
    const { state } = this;
    const { known, home, owner, context, tableId } = state;
    if (state.held !== null || known.heldSequence !== null || home === null) return false;
    if (known.awaitsSnapshot === true) return true;
    if (!state.keepsHistory || state.stored === null || isOwned(home.delta, owner)) return false;
    const { records, saveProgress } = context;
    const begunAtMs = await readLogBegin(records.store);
    const appliedAtMs = Math.max(...[...home.delta.snapshot.txns.values()].map(({ lastUpdated }) => lastUpdated ?? 0));
    const newest = (await this.newestTables())[tableId];
    if (newest === undefined || (begunAtMs !== null && begunAtMs > appliedAtMs)) return false;
    await requestSnapshot(records.store, tableId, newest.snapshotId);
    state.known = { ...known, awaitsSnapshot: true, sequence: records.head };
    await saveProgress();
    log("info", "table-copied-again", {
      table: state.label,
      reason: "it keeps history, and has changes that are newer than the new staging's snapshot",
    });
    return true;
  }

  private async findHome(): Promise<TableHome> {
    const { state } = this;
    const { owner, context, known, tableId } = state;
    const places = await this.places();
    try {
      return await findHome(places, owner, context);
    } catch (error) {
      const { records, destinationPath, session } = context;
      if (!(error instanceof DamagedLogError) || !state.isQuarantined) throw error;
      if ((await changesBeforeSnapshot(records, tableId, await this.readable(known.sequence))) === null) throw error;
      // Its rows are staged anew. Only a table that is known as ours is moved.
      if (known.place === undefined || known.heldSequence === null) throw notOurs(error, state.label);
      if (state.keepsHistory) {
        const loss = "the table begins anew with what staging still has, and what it was is kept in .sluice/damaged";
        await this.damage.requireAcceptance(error.message, loss);
      }
      if (!(await setDamagedAside(known.place, destinationPath, session))) throw error;
      await this.damage.acceptance.forget();
      return findHome(places, owner, context);
    }
  }

  /** Where the table may be: where it was, or where the newest record says. */
  private async places(): Promise<Place[]> {
    const { place, targets, known, tableId } = this.state;
    const newest = (await this.newestTables())[tableId];
    return [place, targets.placeOf(known), ...(newest === undefined ? [] : [targets.placeOf(newest)])];
  }

  /** The sequence, or the last one that is purged. */
  private async readable(sequence: number): Promise<number> {
    return Math.max(sequence, (await this.state.context.records.tail()) - 1);
  }

  private async newestTables() {
    const { records } = this.state.context;
    return records.head === 0 ? {} : (await records.read(records.head)).tables;
  }
}
