import { SluiceError } from "../../errors";
import { failpoint } from "../../failpoint";
import { ownerProperties } from "../delta/table-metadata";
import type { StoredOptions } from "../target-table";
import {
  formatPosition,
  furthest,
  type HistoryEntry,
  newestPosition,
  parsePositions,
  type WarehousePosition,
} from "./position";
import { SqlFailure } from "./sql-failure";
import type { SqlRow } from "./sql-session";
import { deltaTypeOf } from "./sql-text";
import type { WarehouseColumns } from "./table-statements";
import type { Warehouse } from "./warehouse";
import { parseColumns, parseStored, setProperties, warehouseProperties } from "./warehouse-properties";

/** Whose rows are looked for. */
export interface WarehouseOwner {
  logId: string;
  tableId: string;
}

/** How many versions are looked through for a position, each time more. */
const historySteps = [20, 500, 10_000];

/** A table of the warehouse as this process knows it, since it has made sure that nobody else writes it. */
export class WarehouseTable {
  properties: ReadonlyMap<string, string> = new Map();
  columns: WarehouseColumns | null = null;
  position: WarehousePosition | null = null;
  rows = 0;
  exists = false;
  /** newest version; null when it isn't known */
  version: number | null = null;

  private constructor(
    private readonly warehouse: Warehouse,
    readonly place: { schema: string; name: string },
    private readonly owner: WarehouseOwner,
    readonly generation: number,
  ) {}

  /** @throws SluiceError `destination` when a table is there that no pipeline of ours has made; SqlFailure */
  static async open(
    warehouse: Warehouse,
    place: { schema: string; name: string },
    owner: WarehouseOwner,
  ): Promise<WarehouseTable> {
    const table = new WarehouseTable(warehouse, place, owner, await warehouse.ready());
    await table.read();
    return table;
  }

  /** Its full name, quoted. */
  get name(): string {
    return this.warehouse.table(this.place);
  }

  run(statement: string): Promise<SqlRow[]> {
    return this.warehouse.run(this.generation, statement);
  }

  /** Runs what has an effect that must not come twice. */
  async commit(statement: string): Promise<SqlRow[]> {
    failpoint("applier.before-commit");
    const rows = await this.run(statement);
    failpoint("applier.after-commit");
    return rows;
  }

  guard(token: string): string {
    return this.warehouse.guard(token);
  }

  get epoch(): string {
    return this.warehouse.fence;
  }

  get access() {
    return this.warehouse.options.access;
  }

  /** By which options its rows were made; null when they aren't this source table's. */
  get stored(): StoredOptions | null {
    return parseStored(this.properties, this.owner.tableId);
  }

  get logId(): string | undefined {
    return this.properties.get(ownerProperties.log);
  }

  get tableId(): string | undefined {
    return this.properties.get(ownerProperties.table);
  }

  /** Whether its rows are the source table's, by this staging log or an earlier one. */
  get isSame(): boolean {
    return this.tableId === this.owner.tableId;
  }

  /** Whether its rows are of this staging log. */
  get isOwned(): boolean {
    return this.isSame && (this.logId === this.owner.logId || this.position !== null);
  }

  /** Reads again what the table is. */
  async read(): Promise<void> {
    const properties = await this.readProperties();
    this.exists = properties !== null;
    this.properties = properties ?? new Map();
    this.columns = null;
    if (!this.exists) return;
    if (this.properties.get(ownerProperties.source) === undefined) {
      throw new SluiceError("destination", `table ${this.name} exists and was not made by Sluice`, {
        remedy: "Choose another schema or another destination for the table, or rename that one.",
      });
    }
    if (!this.isSame) return;
    // Whatever was sent before for this table, and has begun, can't commit behind this.
    if (this.properties.get(warehouseProperties.epoch) !== this.warehouse.fence) {
      await this.set([[warehouseProperties.epoch, this.warehouse.fence], ...(await this.positionToKeep())]);
    }
    this.position = await this.knownPosition();
    await this.readColumns();
    const [counted] = await this.run(`SELECT CAST(count(*) AS STRING) AS n FROM ${this.name}`);
    this.rows = Number(counted.n);
  }

  private async readProperties(): Promise<Map<string, string> | null> {
    try {
      const rows = await this.run(`SHOW TBLPROPERTIES ${this.name}`);
      return new Map(rows.map(({ key, value }) => [String(key), String(value)]));
    } catch (thrown) {
      if (thrown instanceof SqlFailure && thrown.kind === "missing-object") return null;
      throw thrown;
    }
  }

  /** Columns and their types as they are now. */
  async readColumns(): Promise<void> {
    const known = parseColumns(this.properties.get(warehouseProperties.columns));
    if (known === null) {
      throw new SluiceError("destination", `table ${this.name} has lost the property ${warehouseProperties.columns}`, {
        remedy: `Drop the table, or restore the property by RESTORE TABLE ${this.name} TO VERSION AS OF …: it is filled anew by sluice resync.`,
      });
    }
    const types = new Map<string, string | null>();
    for (const { col_name: name, data_type: type } of await this.run(`DESCRIBE TABLE ${this.name}`)) {
      if (name === "" || String(name).startsWith("# ")) break;
      types.set(String(name), deltaTypeOf(String(type)));
    }
    this.columns = { known, types };
  }

  private async knownPosition(): Promise<WarehousePosition | null> {
    return furthest(await this.toldPosition(), this.keptPosition());
  }

  /**
   * With the epoch, as processes that end soon would never keep it otherwise: a history is over after a while, also that of a
   * table to which nothing came meanwhile. What commits before the epoch does is behind it, and read from the history.
   */
  private async positionToKeep(): Promise<[string, string][]> {
    const known = await this.knownPosition();
    return known === null ? [] : [[warehouseProperties.position, formatPosition(known)]];
  }

  /** The position of the table's own history. */
  private async toldPosition(): Promise<WarehousePosition | null> {
    for (const limit of historySteps) {
      const entries = (await this.run(`DESCRIBE HISTORY ${this.name} LIMIT ${limit}`)).map(historyEntry);
      this.version = entries[0]?.version ?? null;
      const found = newestPosition(entries, this.owner);
      if (found !== null || entries.length < limit) return found;
    }
    return null;
  }

  private keptPosition(): WarehousePosition | null {
    const told = parsePositions(this.properties.get(warehouseProperties.position) ?? "");
    return told.find(({ logId, tableId }) => logId === this.owner.logId && tableId === this.owner.tableId) ?? null;
  }

  /** Sets properties, and knows them. */
  async set(properties: readonly [string, string][]): Promise<void> {
    const changed = properties.filter(([name, value]) => this.properties.get(name) !== value);
    if (changed.length === 0) return;
    await this.run(setProperties(this.name, changed));
    this.properties = new Map([...this.properties, ...changed]);
  }

  /** Gives it another place. */
  async move(place: { schema: string; name: string }): Promise<void> {
    await this.run(`ALTER TABLE ${this.name} RENAME TO ${this.warehouse.renamed(place)}`);
  }

  async drop(): Promise<void> {
    await this.run(`DROP TABLE ${this.name}`);
  }
}

function historyEntry({ version, operation, operationParameters }: SqlRow): HistoryEntry {
  const parameters =
    typeof operationParameters === "string" ? operationParameters : JSON.stringify(operationParameters);
  return { version: Number(version), operation: String(operation), parameters };
}
