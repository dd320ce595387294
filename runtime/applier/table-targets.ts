import type { TableSchema } from "../change/table-schema";
import { type StoredOptions, type TargetTable, targetTable } from "../destination/target-table";
import type { ObjectStore } from "../staging/object-store";
import { readTableSchema } from "../staging/staging-log";
import { type NamedTableOptions, optionsOf, placeOf, type TableOptions } from "../table-options";
import type { Place } from "./table-home";

/** A table's schemas, as they are staged and as the pipeline's options make them. */
export class TableTargets {
  private readonly schemas = new Map<number, TableSchema>();
  /** which columns the options' names mean */
  private columns: StoredOptions["columns"] = {};

  constructor(
    private readonly tableId: string,
    private readonly store: ObjectStore,
    private readonly tables: NamedTableOptions[],
  ) {}

  options(source: Place): TableOptions {
    return optionsOf(this.tables, source);
  }

  placeOf(source: Place): Place {
    return placeOf(source, this.options(source));
  }

  /** What the table's properties remember of its rows. */
  remember(stored: StoredOptions | null): void {
    this.columns = { ...this.columns, ...stored?.columns };
  }

  async schema(schemaId: number): Promise<TableSchema> {
    const known = this.schemas.get(schemaId);
    if (known !== undefined) return known;
    const schema = await readTableSchema(this.store, this.tableId, schemaId);
    this.schemas.set(schemaId, schema);
    return schema;
  }

  /** To be called in the order of schemas, so that a name of the options means the column that had it first. */
  async target(schemaId: number): Promise<TargetTable> {
    const schema = await this.schema(schemaId);
    const target = targetTable(schema, this.options(schema), this.columns);
    this.remember(target.stored);
    return target;
  }
}
