import { readdirSync, utimesSync } from "node:fs";
import { join } from "node:path";
import type { SqlSession } from "../../runtime/destination/databricks/sql-session";
import { defaultTableOptions, type NamedTableOptions, tableModeSchema } from "../../runtime/table-options";
import { replayModes } from "../runtime/applier/mode-replay";
import { StagedLog, tableSchema } from "../runtime/applier/staged-log";
import { deltaRowText, ModelTable, type Step } from "../runtime/applier/staged-model";
import type { WarehouseRun } from "../support/warehouse-applier";
import type { Fault, WarehouseCall } from "../support/warehouse-front";
import { difference } from "./lane-report";
import { type Lane, random, report } from "./warehouse-lane";
import { openSession } from "./warehouse-under-test";

/** Killed at each of some statements, before or after its effect; a new process goes on (invariant 3). */
export async function kills(lane: Lane, seed: number, every: number): Promise<void> {
  const pick = random(seed);
  const log = await StagedLog.open();
  const schema = lane.newSchema();
  const tables = tableModeSchema.options.map(
    (mode, index): NamedTableOptions => ({ ...defaultTableOptions, schema: "public", name: `k${index + 1}`, mode }),
  );
  const columns = { id: "long*", name: "string", amount: "double" };
  const kinds: Step["kind"][] = ["insert", "insert", "update", "unchanged", "rekey", "delete"];
  try {
    const models = tables.map(
      ({ name }, index) => new ModelTable(log, tableSchema(String(index + 1), name, columns), true),
    );
    for (const model of models) await model.start();
    let kills = 0;
    for (let round = 0, at = 1; kills < every; round++) {
      for (let count = 0; count < 8; count++) {
        const step: Step = { kind: kinds[pick(kinds.length)], pick: pick(1000), value: pick(1000) };
        for (const model of models) await model.step(step);
      }
      if (round % 3 === 2) for (const model of models) await model.step({ kind: "truncate", pick: 0, value: 0 });
      for (const model of models) await model.commit();
      // Statements of one batch are cut off one after another, until it is through.
      const isAfter = round % 2 === 0;
      while (await killed(lane, log, { tables, schema }, at, isAfter)) {
        kills++;
        at += 2;
      }
      at = 1 + (round % 2);
      const replayed = await replayModes(log.config().stagingPath);
      for (const [index, { name, mode }] of tables.entries()) {
        const wanted =
          replayed
            .get(String(index + 1))
            ?.rows(mode)
            .sort() ?? [];
        const found = (await lane.rows(schema, name)).map(deltaRowText).sort();
        report(
          `killed ${kills} times, ${isAfter ? "after" : "before"} effects: ${name} ${mode}, ${found.length} rows`,
          difference(found, wanted),
        );
      }
    }
  } finally {
    log.close();
  }
}

/** Runs until the statement with a number; false when there are fewer. Only those that write are counted. */
async function killed(lane: Lane, log: StagedLog, run: WarehouseRun, at: number, isAfter: boolean): Promise<boolean> {
  let count = 0;
  let die = () => {};
  const dead = new Promise<true>((resolve) => {
    die = () => resolve(true);
  });
  const through = (session: SqlSession): SqlSession => ({
    run: async (statement) => {
      if (/^(SELECT|SHOW|DESCRIBE)/.test(statement)) return session.run(statement);
      const isLast = ++count === at;
      if (count > at || (isLast && !isAfter)) {
        die();
        return new Promise(() => {});
      }
      const rows = await session.run(statement);
      if (!isLast) return rows;
      die();
      return new Promise(() => {});
    },
    close: () => session.close(),
  });
  const applied = lane.apply(log, { ...run, through }).then(() => false);
  return Promise.race([dead, applied]);
}

/** Calls meet every fault of the way, behind their effect and before it: the same process goes on (invariant 3). */
export async function lostAnswers(lane: Lane): Promise<void> {
  const log = await StagedLog.open();
  const schema = lane.newSchema();
  const tables = [
    { ...defaultTableOptions, schema: "public", name: "lost", mode: "append" as const },
    { ...defaultTableOptions, schema: "public", name: "keyless" },
  ];
  const told = tableSchema("1", "lost", { id: "long*", name: "string", amount: "double" });
  const bag = tableSchema("2", "keyless", { id: "long", name: "string", amount: "double" });
  const isWriting = ({ statement }: WarehouseCall) =>
    statement !== null &&
    /^(MERGE|CREATE OR REPLACE|ALTER)/.test(statement) &&
    !statement.includes("_sluice_writers` w");
  const isPoll = ({ name }: WarehouseCall) => name === "GetOperationStatus";
  const again = { "retry-after": "0" };
  const faults: { what: string; isMeant: (call: WarehouseCall) => boolean; fault: Fault; count?: number }[] = [
    { what: "a lost answer", isMeant: isWriting, fault: "lose-answer" },
    { what: "a lost call", isMeant: isWriting, fault: "lose-call" },
    { what: "lost polls", isMeant: isPoll, fault: "lose-call", count: 3 },
    { what: "a lost result", isMeant: ({ name }) => name === "FetchResults", fault: "lose-answer" },
    { what: "a proxy's 503 behind the effect", isMeant: isWriting, fault: { status: 503, isBehind: true } },
    { what: "a warehouse that starts", isMeant: isWriting, fault: { status: 503, headers: again }, count: 2 },
    { what: "no room", isMeant: isWriting, fault: { status: 429, headers: again }, count: 2 },
    { what: "a session that is over", isMeant: isWriting, fault: { refusal: "Invalid SessionHandle" } },
  ];
  const met: string[] = [];
  try {
    const models = [new ModelTable(log, told, true), new ModelTable(log, bag, false)];
    for (const model of models) await model.start();
    for (const [round, { what, isMeant, fault, count = 1 }] of faults.entries()) {
      for (const kind of ["insert", "insert", "update"] as const) {
        for (const model of models) await model.step({ kind, pick: round, value: round * 7 });
      }
      for (const model of models) await model.commit();
      let left = count;
      lane.front.fault = (call) => (isMeant(call) && left-- > 0 ? fault : "none");
      await lane.apply(log, { tables, schema });
      if (left <= 0) met.push(what);
      await lane.equalsLocal(log, tables, schema, ["lost", "keyless"], what);
    }
    report("every fault was met", met.length === faults.length ? [] : [met.join(", ")]);
  } finally {
    lane.front.fault = () => "none";
    log.close();
  }
}

/** What tells the position is taken away: by somebody who restores the table, and by Delta, which keeps a log for a while (invariant 3). */
export async function history(lane: Lane): Promise<void> {
  const log = await StagedLog.open();
  const schema = lane.newSchema();
  const tables = [{ ...defaultTableOptions, schema: "public", name: "told", mode: "append" as const }];
  const session = await openSession(lane.front);
  const table = `${schema}.told`;
  const entries = async () =>
    (await session.run(`DESCRIBE HISTORY ${table}`)).map(({ operation }) => String(operation));
  try {
    const model = new ModelTable(
      log,
      tableSchema("1", "told", { id: "long*", name: "string", amount: "double" }),
      true,
    );
    await model.start();
    const apply = async (when: string) => {
      for (const kind of ["insert", "update"] as const) await model.step({ kind, pick: 1, value: 1 });
      await model.commit();
      await lane.apply(log, { tables, schema });
      await lane.equalsLocal(log, tables, schema, ["told"], when);
    };
    await apply("before a RESTORE");
    await session.run(`RESTORE TABLE ${table} TO VERSION AS OF ${(await entries()).length - 1}`);
    await apply("behind a RESTORE of the newest version");
    await session.run(`RESTORE TABLE ${table} TO VERSION AS OF 1`);
    await apply("behind a RESTORE of the first rows");
    // A run of a schedule, for which nothing is staged.
    await lane.apply(log, { tables, schema });
    const folder = join(lane.path(schema, "told"), "_delta_log");
    const longAgo = new Date(Date.now() - 40 * 86_400_000);
    for (const name of readdirSync(folder)) utimesSync(join(folder, name), longAgo, longAgo);
    await session.run(`ALTER TABLE ${table} SET TBLPROPERTIES ('delta.checkpointInterval' = '1')`);
    const left = await entries();
    report("Delta has dropped the table's log", left.includes("MERGE") ? [left.join()] : []);
    await apply("behind a log that is dropped");
  } finally {
    await session.close();
    log.close();
  }
}
