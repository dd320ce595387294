import { existsSync } from "node:fs";
import { join } from "node:path";
import { defaultTableOptions, type NamedTableOptions, tableModeSchema } from "../../runtime/table-options";
import { replayModes } from "../runtime/applier/mode-replay";
import { expectedText, namedRowText, SchemaModel } from "../runtime/applier/schema-model";
import { type StagedLog, tableSchema } from "../runtime/applier/staged-log";
import { deltaRowText, ModelTable, rowText, type Step } from "../runtime/applier/staged-model";
import { readDeltaRows } from "../support/delta-reader";
import type { Random } from "../support/random";

const columns = { name: "string", amount: "double" };
const modes = tableModeSchema.options;
const kinds: Step["kind"][] = ["insert", "insert", "insert", "update", "update", "unchanged", "rekey", "delete"];
const rowKinds = ["insert", "insert", "update", "unchanged", "delete"] as const;
const schemaKinds = ["add", "add", "drop", "rename", "widen"] as const;

/** One table that leaves and comes back; nobody else writes to it. */
export const leavingTable = "leaving";

/**
 * Source tables of every kind as a gateway would stage them: each mode, without a key, without deletion vectors, with a
 * change data feed, by partitions, one that leaves and comes back, and two whose columns and names change.
 */
export class ApplierTables {
  readonly options: NamedTableOptions[];
  private readonly plain: ModelTable[];
  private readonly leaving: ModelTable;
  private readonly changing: SchemaModel[];
  private hasLeft = false;

  constructor(
    private readonly log: StagedLog,
    private readonly random: Random,
  ) {
    const given: (Partial<NamedTableOptions> & { name: string })[] = [
      ...modes.map((mode) => ({ name: `t_${mode}`, mode })),
      { name: "rewritten", deletionVectors: false },
      { name: "unmapped", columnMapping: false },
      { name: "fed", changeDataFeed: true, clusterBy: ["name", "id"] },
      { name: "parted", partitionBy: ["name"], clusterBy: ["amount"] },
      { name: "keyless" },
      { name: leavingTable, onRemove: "drop" },
    ];
    this.options = given.map((each) => ({ ...defaultTableOptions, schema: "public", ...each }));
    const models = given.map(({ name }, index) => {
      const key = name === "keyless" ? "long" : "long*";
      return new ModelTable(log, tableSchema(String(index + 1), name, { id: key, ...columns }), key === "long*");
    });
    this.leaving = models.pop() as ModelTable;
    this.plain = models;
    this.changing = [];
    for (const [index, name] of ["a", "b"].entries()) {
      const isFree = (wanted: string) => this.changing.every(({ schema }) => schema.name !== wanted);
      this.changing.push(new SchemaModel(log, String(index + 20), name, isFree));
    }
  }

  /** Tables that a rival may write to too. */
  static get shared(): string[] {
    return [...modes.map((mode) => `t_${mode}`), "rewritten", "unmapped", "fed", "parted", "keyless", "a", "b", "c"];
  }

  async start(): Promise<void> {
    for (const model of [...this.plain, this.leaving, ...this.changing]) await model.start();
    await this.work();
  }

  /** Stages some records, with every kind of change. */
  async work(): Promise<void> {
    const { random } = this;
    const number = () => random.between(0, 1_000);
    for (const model of [...this.plain, this.leaving]) {
      if (model === this.leaving && this.hasLeft) continue;
      for (let step = random.between(1, 10); step > 0; step--) {
        await model.step({ kind: random.choose(kinds), pick: number(), value: number() });
      }
      // A snapshot is never left open: a TRUNCATE amid one is for other tests.
      if (random.between(0, 15) === 0) await model.step({ kind: "truncate", pick: 0, value: 0 });
      if (random.between(0, 15) === 0) {
        await model.step({ kind: "begin", pick: number(), value: number() });
        await model.step({ kind: "insert", pick: number(), value: number() });
        await model.step({ kind: "end", pick: 0, value: 0 });
      }
      await model.commit();
    }
    for (const model of this.changing) {
      for (let step = random.between(1, 5); step > 0; step--) {
        await model.step({ kind: random.choose(rowKinds), pick: number(), value: number() });
      }
      // Each may write all of the table's files anew.
      if (random.between(0, 2) === 0) {
        await model.step({ kind: random.choose(schemaKinds), pick: number(), value: number() });
      }
      if (random.between(0, 5) === 0) await model.step({ kind: "move", pick: 0, value: number() });
      await model.commit();
    }
    if (random.between(0, 3) === 0) await this.leaveOrReturn();
  }

  /** The table leaves the publication, or comes back with a new snapshot. */
  async leaveOrReturn(): Promise<void> {
    if (this.hasLeft) await this.leaving.start();
    else this.log.event("removed", this.leaving.schema);
    this.hasLeft = !this.hasLeft;
    await this.leaving.commit();
  }

  /** Rows that each table must have and those that it has, as texts. `stagingPath`: all that was ever staged. */
  async compare(lake: string, stagingPath: string): Promise<{ name: string; expected: string[]; found: string[] }[]> {
    const result: { name: string; expected: string[]; found: string[] }[] = [];
    const read = async (name: string) => {
      const path = join(lake, "public", name);
      return existsSync(path) ? readDeltaRows(path) : [];
    };
    const replayed = await replayModes(
      stagingPath,
      modes.map((_, index) => String(index + 1)),
    );
    for (const [index, model] of this.plain.entries()) {
      const { name } = model.schema;
      const mode = modes[index];
      const expected = mode === undefined ? model.rows.map(rowText) : replayed.get(String(index + 1))?.rows(mode);
      result.push({ name, expected: expected ?? [], found: (await read(name)).map(deltaRowText) });
    }
    const left = this.hasLeft ? [] : this.leaving.rows.map(rowText);
    result.push({ name: leavingTable, expected: left, found: (await read(leavingTable)).map(deltaRowText) });
    for (const { schema, rows } of this.changing) {
      const expected = rows.map((row) => expectedText(schema, row));
      result.push({ name: schema.name, expected, found: (await read(schema.name)).map(namedRowText) });
    }
    return result;
  }
}
