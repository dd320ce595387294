import type { ColumnSchema, DeltaType, TableSchema } from "../../../runtime/change/table-schema";
import type { Change, Sql, StagedLog } from "./staged-log";

/** Values by physical name: whole numbers (a float is half more), text, or null. */
type Row = Record<string, number | string | null>;

export interface SchemaStep {
  kind:
    | "insert"
    | "update"
    | "unchanged"
    | "delete"
    | "truncate"
    | "add"
    | "drop"
    | "rename"
    | "widen"
    | "key"
    | "move"
    | "begin"
    | "end"
    | "commit"
    | "apply";
  pick: number;
  value: number;
}

const addedTypes: DeltaType[] = ["short", "integer", "float", "decimal(6,2)", "string"];
const widerTypes: Record<string, DeltaType[]> = {
  short: ["integer", "long", "decimal(7,1)"],
  integer: ["long", "decimal(20,3)"],
  float: ["double"],
  "decimal(6,2)": ["decimal(7,2)", "decimal(9,4)", "decimal(38,18)"],
};
/** Attribute numbers of the key, in key order: of `id` and `alt`, each unique by itself. */
const keys = [[1], [2], [2, 1], []];

/** A source table whose schema changes, told the plain way; it stages what it does as a gateway would. */
export class SchemaModel {
  schema: TableSchema;
  rows: Row[] = [];
  /** what the destination must hold after the last staged commit; null before the first snapshot's end */
  visible: { schema: TableSchema; rows: Row[] } | null = null;
  private changes: Change[] = [];
  private nextAttribute = 3;
  private nextId = 1;
  private snapshots = 0;
  private open: { id: string; schema: TableSchema; rows: Row[] } | null = null;

  /** `isFree`: says whether the source has no table of a name. */
  constructor(
    private readonly log: StagedLog,
    tableId: string,
    name: string,
    private readonly isFree: (name: string) => boolean,
  ) {
    const columns = [column(1, "id", "long", 1), column(2, "alt", "integer", null)];
    this.schema = { version: 1, tableId, schemaId: 1, schema: "public", name, replicaIdentity: "f", columns };
  }

  /** Has an unfinished snapshot. */
  get isBehind(): boolean {
    return this.open !== null;
  }

  async start(): Promise<void> {
    await this.log.schema(this.schema);
    await this.step({ kind: "begin", pick: 0, value: 0 });
    await this.step({ kind: "end", pick: 0, value: 0 });
  }

  async step({ kind, pick, value }: SchemaStep): Promise<void> {
    const index = this.rows.length === 0 ? -1 : pick % this.rows.length;
    const { columns, name } = this.schema;
    const later = columns.slice(2);
    const chosen = later.length === 0 ? null : later[pick % later.length];
    switch (kind) {
      case "insert": {
        const id = this.nextId++;
        const row: Row = { c1: id, c2: id + 1000 };
        for (const { physicalName, deltaType } of later) row[physicalName] = someValue(deltaType, value);
        this.rows.push(row);
        this.changes.push({ op: 0, row: this.sql(row) });
        return;
      }
      case "update":
      case "unchanged":
        if (index >= 0) this.update(index, kind === "unchanged", value);
        return;
      case "delete":
        if (index >= 0) this.changes.push({ op: 2, row: this.sql(this.rows.splice(index, 1)[0]) });
        return;
      case "truncate":
        await this.flush();
        this.log.event("truncate", this.schema);
        this.rows = [];
        return;
      case "add": {
        const type = addedTypes[value % addedTypes.length];
        const added = column(this.nextAttribute, `col${this.nextAttribute++}`, type, null);
        const filled = value % 3 === 0 ? null : someValue(type, value);
        for (const row of this.rows) row[added.physicalName] = filled;
        const fill = value % 3 === 1 ? undefined : { [added.name]: literal(type, filled) };
        if (fill === undefined) for (const row of this.rows) row[added.physicalName] = null;
        return this.change({ columns: [...columns, added] }, fill);
      }
      case "drop":
        if (chosen !== null) await this.change({ columns: columns.filter((each) => each !== chosen) });
        return;
      case "rename": {
        const renamed = columns[pick % columns.length];
        const other = columns[value % columns.length];
        if (value % 3 === 0 && other !== renamed) {
          const swapped = new Map([
            [renamed, other.name],
            [other, renamed.name],
          ]);
          return this.change({ columns: columns.map((each) => ({ ...each, name: swapped.get(each) ?? each.name })) });
        }
        const next = `n${value % 50}`;
        if (columns.some((each) => each.name === next)) return;
        return this.change({ columns: columns.map((each) => (each === renamed ? { ...each, name: next } : each)) });
      }
      case "widen": {
        const types = chosen === null ? undefined : widerTypes[chosen.deltaType];
        if (types === undefined) return;
        const deltaType = types[value % types.length];
        return this.change({ columns: columns.map((each) => (each === chosen ? { ...each, deltaType } : each)) });
      }
      case "key": {
        const key = keys[value % keys.length];
        const ordinal = (number: number) => (key.includes(number) ? key.indexOf(number) + 1 : null);
        return this.change({
          columns: columns.map((each) => ({ ...each, keyOrdinal: ordinal(each.attributeNumber) })),
        });
      }
      case "move": {
        const next = ["a", "b", "c"][value % 3];
        if (next !== name && this.isFree(next)) await this.change({ name: next });
        return;
      }
      case "begin":
        await this.commit();
        this.open = {
          id: `${this.schema.tableId}-${++this.snapshots}`,
          schema: this.schema,
          rows: this.rows.map((row) => ({ ...row })),
        };
        this.log.begin(this.schema, this.open.id);
        return;
      case "end": {
        if (this.open === null) return;
        const { id, schema, rows } = this.open;
        if (rows.length > 0) {
          const texts = rows.map((row) => sqlRow(schema, row));
          await this.log.rows(schema, id, texts);
        }
        this.log.end(schema, id, rows.length);
        this.open = null;
        return;
      }
      case "commit":
        return this.commit();
      case "apply":
        return;
    }
  }

  async commit(): Promise<void> {
    await this.flush();
    await this.log.commit();
    if (this.open === null) this.visible = { schema: this.schema, rows: this.rows.map((row) => ({ ...row })) };
  }

  private async change(to: Partial<TableSchema>, fill?: Record<string, Sql>): Promise<void> {
    await this.flush();
    this.schema = { ...this.schema, ...to, schemaId: this.schema.schemaId + 1 };
    await this.log.schemaChange(this.schema, fill);
  }

  private update(index: number, unchanged: boolean, value: number): void {
    const old = this.rows[index];
    const hasKey = this.schema.columns.some((each) => each.keyOrdinal !== null);
    const text = this.schema.columns.find((each) => each.deltaType === "string");
    const row: Row = { ...old };
    for (const { physicalName, deltaType } of this.schema.columns.slice(2)) {
      if (!(unchanged && deltaType === "string")) row[physicalName] = someValue(deltaType, value + 1);
    }
    if (value % 4 === 0) row.c1 = this.nextId++;
    this.rows[index] = row;
    if (!hasKey) {
      this.changes.push({ op: 2, row: this.sql(old) }, { op: 0, row: this.sql(row) });
      return;
    }
    const isMoved = row.c1 !== old.c1 && this.schema.columns[0].keyOrdinal !== null;
    if (isMoved) this.changes.push({ op: 3, row: this.sql(old) });
    const sent = this.sql(row);
    if (!unchanged || text === undefined) this.changes.push({ op: 1, row: sent });
    else this.changes.push({ op: 1, row: { ...sent, [text.name]: null }, unchanged: [text.name] });
  }

  private sql(row: Row): Record<string, Sql> {
    return sqlRow(this.schema, row);
  }

  private async flush(): Promise<void> {
    if (this.changes.length === 0) return;
    await this.log.changes(this.schema, this.changes);
    this.changes = [];
  }
}

function column(attributeNumber: number, name: string, deltaType: DeltaType, keyOrdinal: number | null): ColumnSchema {
  const physicalName = `c${attributeNumber}`;
  return {
    attributeNumber,
    name,
    physicalName,
    typeOid: 0,
    typeModifier: -1,
    typeName: deltaType,
    deltaType,
    keyOrdinal,
  };
}

function someValue(type: DeltaType, value: number): number | string | null {
  if (value % 5 === 0) return null;
  return type === "string" ? `text ${value % 7}` : (value % 9) - 4;
}

function literal(type: DeltaType, value: number | string | null): Sql {
  if (value === null) return null;
  if (typeof value === "string") return `'${value}'`;
  return type === "float" || type === "double" ? `${value}.5` : String(value);
}

function sqlRow(schema: TableSchema, row: Row): Record<string, Sql> {
  return Object.fromEntries(
    schema.columns.map(({ name, physicalName, deltaType }) => [name, literal(deltaType, row[physicalName] ?? null)]),
  );
}

/** A row as the text of what `readDeltaRows` gives. */
export function expectedText(schema: TableSchema, row: Row): string {
  const texts = schema.columns.map(({ name, physicalName, deltaType }) => {
    const value = row[physicalName] ?? null;
    if (value === null || typeof value === "string") return `${name}=${value}`;
    const scale = Number(/,(\d+)\)$/.exec(deltaType)?.[1] ?? 0);
    return `${name}=${scale > 0 ? value.toFixed(scale) : literal(deltaType, value)}`;
  });
  return texts.join("|");
}

/** A row as `readDeltaRows` gives it, or with texts for values. */
export function namedRowText(row: Record<string, unknown>): string {
  return Object.entries(row)
    .map(([name, value]) => `${name}=${value}`)
    .join("|");
}
