import { defaultTableOptions, type NamedTableOptions, tableModeSchema } from "../../runtime/table-options";
import { replayModes } from "../runtime/applier/mode-replay";
import { expectedText, namedRowText, SchemaModel, type SchemaStep } from "../runtime/applier/schema-model";
import { StagedLog, tableSchema } from "../runtime/applier/staged-log";
import { deltaRowText, ModelTable, type Step } from "../runtime/applier/staged-model";
import { difference } from "./lane-report";
import { type Lane, random, report } from "./warehouse-lane";

/** One of them is done at random: what stands there twice twice as often. */
const kindsOf = <Kind extends string>(text: string) => text.split(" ") as Kind[];

/** Tables of all modes, with keys and without, partitioned or not, whose source does all that it can. */
export async function modes(lane: Lane, seed: number, length: number, rounds = 3): Promise<void> {
  const pick = random(seed);
  const log = await StagedLog.open();
  const schema = lane.newSchema();
  const given = [
    ...tableModeSchema.options.map((mode) => ({ mode })),
    { mode: "append" as const, beforeImage: true },
    { mode: "scd1" as const, metadataColumns: true },
    { mode: "softDelete" as const, metadataColumns: true, columnMapping: false },
  ];
  const tables = given.map((options, index): NamedTableOptions => {
    const partition = index % 3 === 1 ? { partitionBy: ["name"] } : {};
    return { ...defaultTableOptions, schema: "public", name: `t${index + 1}`, ...options, ...partition };
  });
  const kinds = kindsOf<Step["kind"]>(
    "insert insert insert update update unchanged rekey delete truncate begin rows end commit",
  );
  try {
    const columns = { id: "long*", name: "string", amount: "double" };
    const models = tables.map(
      ({ name }, index) => new ModelTable(log, tableSchema(String(index + 1), name, columns), true, true),
    );
    const keyless = new ModelTable(
      log,
      tableSchema("90", "keyless", { id: "long", name: "string", amount: "double" }),
      false,
    );
    const all = [...models, keyless];
    for (const model of all) await model.start();
    for (let round = 0; round < rounds; round++) {
      for (let at = 0; at < length; at++) {
        const step: Step = { kind: kinds[pick(kinds.length)], pick: pick(1000), value: pick(1000) };
        if (step.kind === "truncate" && pick(3) > 0) continue;
        for (const model of all) await model.step(step);
      }
      for (const model of all) await model.step({ kind: "end", pick: 0, value: 0 });
      for (const model of all) await model.commit();
      await lane.apply(log, { tables, schema });
      const replayed = await replayModes(log.config().stagingPath);
      for (const [index, { name, mode, beforeImage, metadataColumns }] of tables.entries()) {
        if (metadataColumns) continue;
        const wanted =
          replayed
            .get(String(index + 1))
            ?.rows(mode, beforeImage)
            .sort() ?? [];
        const found = (await lane.rows(schema, name)).map(deltaRowText).sort();
        report(`seed ${seed}, round ${round}: ${name} ${mode}, ${found.length} rows`, difference(found, wanted));
      }
      await lane.equalsLocal(
        log,
        tables,
        schema,
        ["keyless", ...tables.map(({ name }) => name)],
        `seed ${seed}, round ${round}`,
      );
    }
  } finally {
    log.close();
  }
}

/** Tables of all modes whose schema changes, also while a snapshot of them is open: as the local applier makes them. */
export async function schemaModes(lane: Lane, seed: number, length: number, rounds: number): Promise<void> {
  const pick = random(seed);
  const log = await StagedLog.open();
  const schema = lane.newSchema();
  const kinds = kindsOf<SchemaStep["kind"]>(
    "insert insert insert update update unchanged delete truncate add add drop rename rename widen begin end commit",
  );
  const given = [
    ...tableModeSchema.options.map((mode) => ({ mode })),
    { mode: "softDelete" as const, metadataColumns: true },
    { mode: "scd1" as const, metadataColumns: true },
  ];
  const tables = given.map(
    (options, at): NamedTableOptions => ({
      ...{ ...defaultTableOptions, schema: "public", name: `s${at + 1}`, columnMapping: (seed + at) % 3 > 0 },
      ...options,
    }),
  );
  const names = tables.map(({ name }) => name);
  try {
    const models = names.map((name, at) => new SchemaModel(log, String(at + 1), name, () => false));
    for (const model of models) await model.start();
    for (let round = 0; round < rounds; round++) {
      for (let at = 0; at < length; at++) {
        const step = { kind: kinds[pick(kinds.length)], pick: pick(1000), value: pick(1000) };
        for (const model of models) await model.step(step);
      }
      const isEnded = pick(2) === 1;
      for (const model of models) {
        if (isEnded) await model.step({ kind: "end", pick: 0, value: 0 });
        await model.commit();
      }
      await lane.apply(log, { tables, schema });
      await lane.equalsLocal(log, tables, schema, names, `schema changes of all modes, seed ${seed}, round ${round}`);
    }
  } finally {
    log.close();
  }
}

/** A table whose schema changes in every way, and which moves. */
export async function schemaChanges(lane: Lane, seed: number, length: number, rounds = 4): Promise<void> {
  const pick = random(seed);
  const log = await StagedLog.open();
  const schema = lane.newSchema();
  const kinds = kindsOf<SchemaStep["kind"]>(
    "insert insert insert update update unchanged delete truncate add add drop rename rename widen key move begin end commit",
  );
  const columnMapping = seed % 2 === 0;
  const tables = ["a", "b", "c"].map(
    (name): NamedTableOptions => ({ ...defaultTableOptions, schema: "public", name, columnMapping }),
  );
  try {
    const models: SchemaModel[] = [];
    const isFree = (name: string) => models.every((model) => model.schema.name !== name);
    models.push(new SchemaModel(log, "1", "a", isFree), new SchemaModel(log, "2", "b", isFree));
    for (const model of models) await model.start();
    for (let round = 0; round < rounds; round++) {
      for (let at = 0; at < length; at++) {
        const step = { kind: kinds[pick(kinds.length)], pick: pick(1000), value: pick(1000) };
        await models[pick(2)].step(step);
      }
      for (const model of models) await model.step({ kind: "end", pick: 0, value: 0 });
      for (const model of models) await model.commit();
      await lane.apply(log, { tables, schema });
      for (const model of models) {
        const found = (await lane.rows(schema, model.schema.name)).map(namedRowText).sort();
        const wanted = model.rows.map((row) => expectedText(model.schema, row)).sort();
        report(
          `schema changes, seed ${seed}, round ${round}: ${model.schema.name}, ${found.length} rows`,
          difference(found, wanted),
        );
      }
    }
  } finally {
    log.close();
  }
}
