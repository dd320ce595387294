import { tablePath } from "../destination/table-path";
import type { ApplierTableStatus } from "../status";
import type { TableFailure } from "./table-failure";
import { type ConditionMemo, tableCondition } from "./table-maintenance";
import { failPercentOf } from "./table-runs";
import type { TableState } from "./table-state";

const noFiles = tableCondition([]);

/** What the status document says of a table. */
export function describeTable(
  state: TableState,
  work: { running: boolean; condition: ConditionMemo; maintenance: ApplierTableStatus["maintenance"] },
): ApplierTableStatus {
  const { tableId, known, context } = state;
  const delta = state.home?.delta ?? null;
  const own = delta?.snapshot.newestOwn;
  const runs = context.runs.recent(tableId);
  return {
    ...runTable(state),
    type: "delta",
    state: stateOf(state, work.running),
    rows: state.rows,
    // The table's own log tells; zeros where it isn't known.
    upserted: own?.upserted ?? 0,
    deleted: own?.deleted ?? 0,
    dropped: own?.dropped ?? 0,
    durationMs: own?.durationMs ?? 0,
    deltaVersion: delta?.exists ? delta.snapshot.version : null,
    failPercent: failPercentOf(runs),
    runs,
    appliedSequence: known.sequence,
    ...(delta?.exists ? work.condition.of(delta) : noFiles),
    maintenance: { ...work.maintenance },
    path: tablePath(context.destinationPath, state.place),
  };
}

/** Which table a run is of. */
export function runTable({ tableId, known, targets }: TableState) {
  const { schema, name } = known;
  return { tableId, schema, name, mode: targets.options(known).mode };
}

function stateOf({ failure, known, home }: TableState, running: boolean): ApplierTableStatus["state"] {
  if (failure !== null) return failedState(failure);
  if (running) return { kind: "running" };
  if (known.removed) return { kind: "removed" };
  return home?.delta.exists && known.awaitsSnapshot !== true ? { kind: "idle" } : { kind: "waiting" };
}

export function failedState({ error, quarantinedAtMs, retryAtMs }: TableFailure): ApplierTableStatus["state"] {
  const told = { errorKind: error.kind, message: error.message, remedy: error.remedy };
  if (quarantinedAtMs === null) return { kind: "failed", ...told, retryAt: new Date(retryAtMs).toISOString() };
  return { kind: "quarantined", ...told, since: new Date(quarantinedAtMs).toISOString() };
}
