import { keyColumns, type TableSchema } from "../../change/table-schema";
import { compareOptions } from "../../table-options-change";
import type { ApplyPlan } from "../apply-plan";
import { ownerProperties } from "../delta/table-metadata";
import { TypeChangeError } from "../schema-evolution";
import { needsSnapshot } from "../table-apply";
import type { TargetTable } from "../target-table";
import { type BatchStage, stagesOf } from "./batch-stages";
import { mergeStatement } from "./merge-statement";
import { formatPosition, type WarehousePosition } from "./position";
import { StageRows } from "./stage-rows";
import { TableLayout } from "./table-layout";
import { schemaStep } from "./table-statements";
import { warehouseProperties } from "./warehouse-properties";
import type { WarehouseTable } from "./warehouse-table";
import { type WarehouseTarget, warehouseTarget } from "./warehouse-target";

export interface BatchContext {
  logId: string;
  tableId: string;
  schema: (schemaId: number) => Promise<TableSchema>;
  target: (schemaId: number) => Promise<TargetTable>;
  /** Resolves when the table may lose what it held before a snapshot, whose types don't hold it; else rejects. */
  loseHistory: (error: TypeChangeError) => Promise<void>;
}

/**
 * Carries a plan out, stage by stage, each by one statement that tells its position in the commit of its rows
 * (invariant 3). Stages that the table has by its position are left out: so the same plan may be carried out again, wherever
 * it was cut off.
 */
export async function applyBatch(
  table: WarehouseTable,
  plan: ApplyPlan,
  base: number,
  keepsHistory: boolean,
  context: BatchContext,
): Promise<void> {
  const batch = await Batch.open(table, plan, base, keepsHistory, context);
  await batch.run();
}

/** A plan in stages, and the schemas of its steps. */
class Batch {
  private readonly layout: TableLayout;

  private constructor(
    private readonly table: WarehouseTable,
    private readonly stages: BatchStage[],
    private readonly position: Omit<WarehousePosition, "done">,
    private readonly schemas: ReadonlyMap<number, TableSchema>,
    private readonly targets: ReadonlyMap<number, WarehouseTarget>,
    private readonly context: BatchContext,
  ) {
    this.layout = new TableLayout(table, context.logId);
  }

  static async open(
    table: WarehouseTable,
    plan: ApplyPlan,
    base: number,
    keepsHistory: boolean,
    context: BatchContext,
  ): Promise<Batch> {
    const schemas = new Map<number, TableSchema>();
    const targets = new Map<number, WarehouseTarget>();
    // What options can't be is told before anything is touched.
    for (const { schemaId } of plan.steps) {
      schemas.set(schemaId, await context.schema(schemaId));
      targets.set(schemaId, warehouseTarget(await context.target(schemaId), table.name));
    }
    const keyOf = (schemaId: number) =>
      keyColumns((targets.get(schemaId) as WarehouseTarget).target.schema)
        .map(({ attributeNumber }) => attributeNumber)
        .join();
    const stages = stagesOf(plan, keepsHistory, keyOf);
    const { logId, tableId } = context;
    const position = { logId, tableId, base, sequence: plan.sequence, of: stages.length };
    return new Batch(table, stages, position, schemas, targets, context);
  }

  async run(): Promise<void> {
    const { table, position } = this;
    const known = table.position;
    const isGoneOn =
      known !== null &&
      known.base === position.base &&
      known.sequence === position.sequence &&
      known.of === position.of;
    for (let at = isGoneOn ? known.done : 0; at < this.stages.length; at++) {
      const told: WarehousePosition = { ...position, done: at + 1 };
      await this.stage(this.stages[at], formatPosition(told));
      table.position = told;
      // Only now: until its rows are those of this log, it is found to be of the other.
      await table.set([[ownerProperties.log, position.logId]]);
    }
  }

  private async stage(stage: BatchStage, token: string): Promise<void> {
    const { table, layout } = this;
    const target = this.target(stage.schemaId);
    const { start } = stage;
    const rows = new StageRows(table, stage, target, this.schemas);
    if (start === null) await this.checkOptions(target);
    const isNew =
      start !== null && (target.target.mode === "scd1" || (start.kind === "replace" && !(await this.canGoOn(target))));
    if (isNew) return layout.replace(target, await rows.asNewTable(start), token);
    await layout.follow(target, async () => (await rows.fills())(0));
    const parts = await rows.asMerge();
    // A stage without rows has its position as a property.
    if (parts === null) return table.set([[warehouseProperties.position, token]]);
    const [counts] = await table.commit(mergeStatement(parts, { token, guard: table.guard(token) }));
    table.rows += Number(counts?.num_inserted_rows ?? 0) - Number(counts?.num_deleted_rows ?? 0);
  }

  private target(schemaId: number): WarehouseTarget {
    return this.targets.get(schemaId) as WarehouseTarget;
  }

  /** @throws SluiceError `config` when the table's rows were made by options that these can't follow in place */
  private async checkOptions(target: WarehouseTarget): Promise<void> {
    const { stored } = this.table;
    const wanted = target.target.stored.options;
    const change = compareOptions(stored?.options ?? wanted, wanted);
    const { schema, name } = target.target.source;
    if (change.kind === "refresh") throw needsSnapshot(`${schema}.${name}`, change.reason);
  }

  /** Whether the rows of before can be rows of the target, whose mode keeps them. */
  private async canGoOn(target: WarehouseTarget): Promise<boolean> {
    const { table } = this;
    const { stored } = table;
    if (target.target.mode === "scd1" || stored === null || table.columns === null) return false;
    if (compareOptions(stored.options, target.target.stored.options).kind === "refresh") return false;
    try {
      schemaStep(table.columns, target, new Set());
      return true;
    } catch (error) {
      if (!(error instanceof TypeChangeError)) throw error;
      await this.context.loseHistory(error);
      return false;
    }
  }
}
