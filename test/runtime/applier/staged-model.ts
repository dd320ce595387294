import type { TableSchema } from "../../../runtime/change/table-schema";
import type { Change, Sql, StagedLog } from "./staged-log";

type Row = Record<string, Sql>;

/** One random step: what is done is chosen by `kind`, to which row by `pick`, with which values by `value`. */
export interface Step {
  kind:
    | "insert"
    | "update"
    | "unchanged"
    | "rekey"
    | "delete"
    | "truncate"
    | "begin"
    | "rows"
    | "end"
    | "commit"
    | "apply";
  pick: number;
  value: number;
}

/**
 * A source table told the plain way, which stages what it does as a gateway would. `visible` is what the destination
 * must hold after the last staged commit: while a snapshot is open, what the table held before the snapshot's begin.
 */
export class ModelTable {
  rows: Row[] = [];
  visible: Row[] | null = null;
  private nextId = 1;
  private snapshots = 0;
  private flushes = 0;
  private open: { id: string; left: Row[]; taken: number } | null = null;
  private changes: Change[] = [];

  constructor(
    private readonly log: StagedLog,
    readonly schema: TableSchema,
    private readonly hasKey: boolean,
    private readonly beforeImages = false,
  ) {}

  async start(): Promise<void> {
    await this.log.schema(this.schema);
    await this.step({ kind: "begin", pick: 0, value: 0 });
    await this.step({ kind: "end", pick: 0, value: 0 });
  }

  async step({ kind, pick, value }: Step): Promise<void> {
    const index = this.rows.length === 0 ? -1 : pick % this.rows.length;
    switch (kind) {
      case "insert": {
        // Ids of deleted rows come again; rows without a key may be equal.
        const id = this.hasKey ? this.freeId(pick) : String(pick % 4);
        const row = { id, name: text(value), amount: amount(value) };
        this.rows.push(row);
        this.changes.push({ op: 0, row });
        return;
      }
      case "update":
      case "unchanged":
      case "rekey":
        if (index >= 0) this.update(index, kind, pick, value);
        return;
      case "delete": {
        if (index < 0) return;
        const [row] = this.rows.splice(index, 1);
        this.changes.push({ op: 2, row: this.hasKey ? { id: row.id } : row });
        return;
      }
      case "truncate":
        await this.flush();
        this.log.event("truncate", this.schema);
        this.rows = [];
        return;
      case "begin":
        await this.commit();
        this.miss(pick, value);
        this.open = { id: `${this.schema.name}-${++this.snapshots}`, left: [...this.rows], taken: 0 };
        this.log.begin(this.schema, this.open.id);
        return;
      case "rows":
        if (this.open !== null) await this.stageRows(Math.ceil(this.open.left.length / 2));
        return;
      case "end": {
        if (this.open === null) return;
        await this.stageRows(this.open.left.length);
        this.log.end(this.schema, this.open.id, this.open.taken);
        this.open = null;
        return;
      }
      case "commit":
        return this.commit();
      case "apply":
        return;
    }
  }

  /** What happens before a snapshot while a table is pending is in its snapshot only. */
  private miss(pick: number, value: number): void {
    const index = this.rows.length === 0 ? -1 : pick % this.rows.length;
    if (value % 3 === 1) this.rows.push({ id: this.hasKey ? this.freeId(pick) : "1", name: "'missed'", amount: null });
    if (value % 4 === 1 && index >= 0) this.rows[index] = { ...this.rows[index], amount: amount(value + 2) };
    if (value % 4 === 2 && index >= 0) this.rows.splice(index, 1);
  }

  /** Stages the changes so far as one transaction, and a record. */
  async commit(): Promise<void> {
    await this.flush();
    await this.log.commit();
    if (this.open === null) this.visible = [...this.rows];
  }

  private update(index: number, kind: "update" | "unchanged" | "rekey", pick: number, value: number): void {
    const old = this.rows[index];
    const row: Row = { ...old, amount: amount(value + 1), ...(kind === "update" ? { name: text(value + 1) } : {}) };
    if (kind === "rekey" && this.hasKey) row.id = this.freeId(pick + 1);
    this.rows[index] = row;
    if (!this.hasKey) {
      this.changes.push({ op: 2, row: old }, { op: 0, row });
      return;
    }
    if (row.id !== old.id) this.changes.push({ op: 3, row: { id: old.id } });
    else if (this.beforeImages && kind === "update") this.changes.push({ op: 4, row: old });
    const isSent = kind === "update" || (kind === "rekey" && value % 2 === 0);
    this.changes.push(isSent ? { op: 1, row } : { op: 1, row: { ...row, name: null }, unchanged: ["name"] });
  }

  private freeId(pick: number): string {
    const used = new Set(this.rows.map((row) => row.id));
    const wanted = String(pick % 10);
    return used.has(wanted) ? String(10 + this.nextId++) : wanted;
  }

  private async stageRows(count: number): Promise<void> {
    const open = this.open as NonNullable<typeof this.open>;
    const rows = open.left.splice(0, count);
    open.taken += rows.length;
    if (rows.length > 0) await this.log.rows(this.schema, open.id, rows);
  }

  private async flush(): Promise<void> {
    if (this.changes.length === 0) return;
    // Every third transaction comes as a large one does: streamed before its commit, partly rolled back.
    const aborted: Change[] = [{ op: 0, row: { id: "1", name: "'rolled back'", amount: null } }];
    const streamed = [undefined, { aborted: [] }, { aborted }][this.flushes++ % 3];
    await this.log.changes(this.schema, this.changes, streamed);
    this.changes = [];
  }
}

function text(value: number): Sql {
  return value % 5 === 0 ? null : `'text ${value % 7}'`;
}

function amount(value: number): Sql {
  const choices = ["'nan'", "'-0.0'", "'0.0'", null, "'inf'"];
  return value % 3 === 0 ? choices[value % choices.length] : String((value % 11) / 2);
}

/** A row as text, as `readDeltaRows` would show it. */
export function rowText(row: Row): string {
  const { id, name, amount: number } = row;
  return [id, name === null ? "null" : name.slice(1, -1), number === null ? "null" : numberText(number)].join("|");
}

function numberText(sql: string): string {
  const plain = sql.replaceAll("'", "");
  if (plain === "nan") return "NaN";
  if (plain === "inf") return "Infinity";
  return Object.is(Number(plain), -0) ? "-0" : String(Number(plain));
}

function valueText(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(valueText)}]`;
  return Object.is(value, -0) ? "-0" : String(value);
}

export function deltaRowText(row: Record<string, unknown>): string {
  return Object.values(row).map(valueText).join("|");
}
