import { formatPosition } from "./position";
import {
  afterChange,
  alterColumn,
  clusterStatement,
  replaceStatement,
  rewrittenRows,
  schemaStep,
  settled,
} from "./table-statements";
import {
  type ColumnChange,
  clusterNumbers,
  columnsProperty,
  deltaProperties,
  ownProperties,
  warehouseProperties,
} from "./warehouse-properties";
import type { WarehouseTable } from "./warehouse-table";
import type { WarehouseTarget } from "./warehouse-target";

/** Makes a table anew, or gives it other columns, layout and properties. */
export class TableLayout {
  constructor(
    private readonly table: WarehouseTable,
    private readonly logId: string,
  ) {}

  /** Makes the table anew; readers have the old one until then. */
  async replace(target: WarehouseTarget, rows: string | null, token: string | null): Promise<void> {
    const { table } = this;
    const position = token ?? (table.position === null ? null : formatPosition(table.position));
    const guard = table.guard(token ?? "sluice");
    // Rows that are only written anew are still of the log that they were of.
    const logId = token === null ? (table.logId ?? this.logId) : this.logId;
    const options = { logId, position, epoch: table.epoch, guard, previous: table.properties };
    await table.commit(replaceStatement(target, rows, options));
    const { position: known } = table;
    await table.read();
    table.position = known;
  }

  /** Gives the table the target's columns, layout and properties, in steps of which each may be the last that is done. `fillsOf`: values of rows of before. */
  async follow(target: WarehouseTarget, fillsOf: () => Promise<ReadonlyMap<number, string>>): Promise<void> {
    const { table } = this;
    if (!table.exists || table.columns === null) return this.replace(target, null, null);
    const fills = await fillsOf();
    const step = schemaStep(table.columns, target, new Set(fills.keys()));
    if (step.kind === "rewrite") return this.replace(target, rewrittenRows(table.columns, target, fills), null);
    const cluster = JSON.stringify(clusterNumbers(target));
    const isClusteredAnew = (table.properties.get(warehouseProperties.cluster) ?? "[]") !== cluster;
    if (isClusteredAnew && step.kind === "alter") await table.run(`ALTER TABLE ${table.name} CLUSTER BY NONE`);
    if (step.kind === "alter") for (const change of step.changes) await this.alter(change);
    if (isClusteredAnew) await table.run(clusterStatement(target));
    const own = ownProperties(target, table.logId ?? this.logId);
    await table.set([...deltaProperties(target), ...own, columnsProperty(target)]);
    if (step.kind === "alter") await table.readColumns();
  }

  private async alter(change: ColumnChange): Promise<void> {
    const { table } = this;
    const columns = table.columns as NonNullable<typeof table.columns>;
    const tell = (names: Record<string, string>, pending: ColumnChange | null) =>
      table.set([[warehouseProperties.columns, JSON.stringify({ names, pending })]]);
    const names = settled(columns);
    await tell(names, change);
    await table.commit(alterColumn(table.name, change));
    table.columns = { known: { names: afterChange(names, change), pending: null }, types: columns.types };
  }
}
