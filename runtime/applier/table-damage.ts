import type { PlanState } from "../destination/apply-plan";
import { checkFile, type FileDamage, findDamaged, findMissing } from "../destination/damaged-files";
import { SluiceError } from "../errors";
import { log } from "../operate/log";
import { faultOf } from "../staging/storage-fault";
import { LossAcceptance, resyncCommand } from "./loss-acceptance";
import type { TableHome } from "./table-home";
import type { TableState } from "./table-state";

/** How long the file is looked for that made a batch fail. */
const searchMsMax = 30_000;

/** Which of a table's files are damaged, what heals it, and whether somebody accepts what that costs. */
export class TableDamage {
  /** no damaged file was found behind the trouble that goes on */
  private isSearchVain = false;
  readonly acceptance: LossAcceptance;

  constructor(private readonly state: TableState) {
    this.acceptance = new LossAcceptance(state);
  }

  /** At a start: a file that isn't there, or is cut off, is known as damaged. */
  async lookForMissing(): Promise<void> {
    const { state } = this;
    const { home, known } = state;
    if (state.held === null || known.damagedFile !== undefined || home?.isDisplaced !== false) return;
    const missing = await findMissing(home.delta);
    if (missing !== null) state.known = { ...known, damagedFile: missing.path };
  }

  /** The damaged file that made something fail; null when it isn't one, or is known already. */
  async causeOf(thrown: unknown): Promise<SluiceError | null> {
    const { state } = this;
    const home = state.ownHome;
    const mayBe = thrown instanceof SluiceError && thrown.kind === "destination" && faultOf(thrown) === "permanent";
    if (!mayBe || this.isSearchVain || home === null || state.known.damagedFile !== undefined) return null;
    const untilMs = performance.now() + searchMsMax;
    const [cause] = await findDamaged(home.delta, state.context.session, { max: 1, untilMs }).catch(() => []);
    this.isSearchVain = cause === undefined;
    if (cause === undefined) return null;
    state.known = { ...state.known, damagedFile: cause.path };
    return damagedFile(state.label, cause, state.keepsHistory);
  }

  /**
   * A table with a damaged file waits until the file is whole again, or a new snapshot is there; where its history goes
   * with the file, also until that is accepted.
   * @throws SluiceError `destination` while it waits
   */
  async check(plan: PlanState): Promise<void> {
    const { state } = this;
    const { session } = state.context;
    const { delta } = state.home as TableHome;
    if (state.known.damagedFile === undefined) return;
    const found = await checkFile(delta, state.known.damagedFile, session);
    if (found === null) return this.forget();
    const isHealed = plan.ready.steps.some(({ kind }) => kind === "replace");
    if (!isHealed) throw damagedFile(state.label, found, state.keepsHistory);
    if (!state.keepsHistory) return;
    await this.requireAcceptance(found.reason, "what the table's history has in damaged files is lost, the rest stays");
    const unbounded = Number.POSITIVE_INFINITY;
    const all = await findDamaged(delta, session, { max: unbounded, untilMs: unbounded });
    state.lost = new Set(all.map(({ path }) => path));
    const rows = all.reduce((sum, file) => sum + file.rows, 0);
    log("warning", "history-lost", { table: state.label, files: all.map(({ reason }) => reason), rows });
  }

  /** A new snapshot is there, but what is damaged has more than it. @throws SluiceError `destination` until it may go */
  async requireAcceptance(what: string, loss: string): Promise<void> {
    const { label } = this.state;
    if (await this.acceptance.isGiven()) return;
    throw new SluiceError("destination", `${label}: ${what}; a new snapshot is staged, but doesn't hold its history`, {
      remedy: `Restore what is damaged. Or run ${resyncCommand(label)} --accept-history-loss: ${loss}.`,
    });
  }

  /** The table is whole: after a batch that healed it, too. */
  async forget(): Promise<void> {
    const { state } = this;
    if (state.lost.size > 0) await this.acceptance.forget();
    else await this.acceptance.settle();
    const { damagedFile: _whole, ...known } = state.known;
    state.known = known;
    state.lost = new Set();
    this.isSearchVain = false;
  }
}

function damagedFile(label: string, { reason, rows }: FileDamage, keepsHistory: boolean): SluiceError {
  return new SluiceError("destination", `${label}: ${reason}`, {
    remedy: keepsHistory
      ? `Restore the file (it has ${rows} rows). Or run ${resyncCommand(label)} --accept-history-loss: what the table's history has in damaged files is lost, the rest stays, and the rows of now are copied again.`
      : `Restore the file, or run ${resyncCommand(label)}: a new snapshot replaces all rows.`,
  });
}
