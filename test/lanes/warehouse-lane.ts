import { join } from "node:path";
import { runApplier } from "../../runtime/applier/applier";
import type { NamedTableOptions } from "../../runtime/table-options";
import type { StagedLog } from "../runtime/applier/staged-log";
import { openDelta, readDeltaRows } from "../support/delta-reader";
import { compareTables } from "../support/equality";
import { applyToWarehouse, type WarehouseRun } from "../support/warehouse-applier";
import type { WarehouseFront } from "../support/warehouse-front";
import { LaneReport } from "./lane-report";
import { openSession } from "./warehouse-under-test";

/** Of all parts. */
export const laneReport = new LaneReport();
export const report = laneReport.check;

/** Repeatable. */
export function random(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}

/** Spark as a warehouse, and what the local applier makes of the same. */
export class Lane {
  private schemas = 0;
  /** of the applier's sessions, before all other statements */
  settings: readonly string[] = [];

  constructor(
    readonly front: WarehouseFront,
    private readonly sparkFolder: string,
  ) {}

  newSchema(): string {
    return `lane${++this.schemas}_${process.pid}`;
  }

  /** Of a table's folder. */
  path(schema: string, name: string): string {
    return join(this.sparkFolder, "warehouse", `${schema}.db`, name);
  }

  /** Rows as an independent reader finds them in Spark's own files. */
  rows(schema: string, name: string): Promise<Record<string, unknown>[]> {
    return readDeltaRows(this.path(schema, name));
  }

  async apply(log: StagedLog, run: WarehouseRun): Promise<void> {
    await applyToWarehouse(log, () => openSession(this.front, this.settings), run);
  }

  /** The local applier's tables of the same log, row for row. */
  async equalsLocal(
    log: StagedLog,
    tables: NamedTableOptions[],
    schema: string,
    names: string[],
    when: string,
  ): Promise<void> {
    await runApplier(
      { ...log.config({ tables }), id: "local" },
      { signal: new AbortController().signal, version: "0.0.0" },
    );
    for (const name of names) {
      const { rows, problems } = await compareTables(
        await openDelta(this.path(schema, name)),
        await openDelta(join(log.destination, "public", name)),
      );
      report(`${when}: ${name} equals the local applier's, ${rows} rows`, problems);
    }
  }
}
