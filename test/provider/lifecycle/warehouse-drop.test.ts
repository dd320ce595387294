// Contract: onDelete "drop" takes the tables of a warehouse that the pipeline made along with it, by SQL and through Databricks'
// own client; no table of anybody else goes, and what the applier had sent last commits nothing behind the drop. A further
// delete, or one that was cut off, is finished. Invariant 5: nothing of ours remains, and what isn't ours does.
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { localDeployment } from "../../../provider/deploy/local";
import { dropFromHere, dropTables } from "../../../provider/deploy/table-drop";
import { applierSpec } from "../../../provider/lifecycle/applier-process";
import { ingestionPipelineLifecycle } from "../../../provider/lifecycle/ingestion-pipeline";
import { defaultTableOptions } from "../../../runtime/table-options";
import { StagedLog, tableSchema } from "../../runtime/applier/staged-log";
import { RecordedService } from "../../support/recorded-service";
import { RecordedWarehouse } from "../../support/recorded-warehouse";
import { applyToWarehouse, catalog } from "../../support/warehouse-applier";
import { WarehouseFront } from "../../support/warehouse-front";

const mainPath = join(process.cwd(), "dist/runtime/main.js");
const token = "a token of the test";
let log: StagedLog;
let engine: RecordedWarehouse;
let front: WarehouseFront;
let said: string[];
let env: NodeJS.ProcessEnv;

const named = [{ ...defaultTableOptions, schema: "public", name: "t2", destination: { schema: "own" } }];
const inputs = (more: object = {}) => ({
  ...{ deploymentId: "test", stateDir: join(log.folder, "state"), stagingPath: join(log.folder, "staging") },
  ...{ stagingIncarnation: "1", onDelete: "drop", startTimeoutMs: 30_000, stopTimeoutMs: 30_000 },
  destination: {
    ...{ kind: "databricks", mode: "warehouse", engine: "spark", catalog, schema: "lake" },
    ...{ host: `https://localhost:${front.port}`, warehouseId: "1", token: { env: "TOKEN_OF_DROP_TEST" } },
  },
  tableOptions: [{ table: { schema: "public", name: "t2" }, destination: { schema: "own" } }],
  ...more,
});
const remove = (more: object = {}) =>
  ingestionPipelineLifecycle(
    () => localDeployment({ mainPath }),
    (spec) => dropTables(spec, { mainPath, env }),
  ).delete("test", inputs(more));
const isMerge = (statement: string) => statement.startsWith("MERGE INTO") && statement.includes("`t1`");
const names = () => [...engine.tables.keys()].map((name) => name.replaceAll("`", "").replace(`${catalog}.`, "")).sort();

async function made(of: StagedLog, ids: string[], tables = named): Promise<void> {
  for (const id of ids) await of.snapshot(tableSchema(id, `t${id}`, { id: "long*" }), [{ id: "1" }]);
  await applyToWarehouse(of, async () => engine, { tables, schema: "lake" });
}

beforeEach(async () => {
  log = await StagedLog.open();
  engine = new RecordedWarehouse({ id: "bigint" });
  front = await WarehouseFront.start(new RecordedService(engine).serve, token);
  const authority = join(log.folder, "authority.pem");
  writeFileSync(authority, front.caCert);
  env = { NODE_EXTRA_CA_CERTS: authority };
  process.env.TOKEN_OF_DROP_TEST = token;
  said = [];
  vi.spyOn(console, "log").mockImplementation((line: string) => {
    said.push(line);
  });
});
afterEach(async () => {
  vi.restoreAllMocks();
  delete process.env.TOKEN_OF_DROP_TEST;
  await front.close();
  log.close();
});

it("drops the tables that were made, wherever they are, and nothing else; a further one is none", async () => {
  const other = await StagedLog.open();
  try {
    await made(log, ["1", "2"]);
    await made(other, ["3"]);
  } finally {
    other.close();
  }
  engine.tables.set(`\`${catalog}\`.\`lake\`.\`notes\``, { properties: {}, history: [], changes: 0 });
  expect(names()).toEqual(["lake.notes", "lake.t1", "lake.t3", "own.t2"]);
  await remove({ onDelete: "keep" });
  expect(names()).toHaveLength(4);
  await remove();
  expect(said.sort()).toEqual([
    `Delta table ${catalog}.lake.t1 is dropped`,
    `Delta table ${catalog}.own.t2 is dropped`,
    `warning: Delta table ${catalog}.lake.t3 stays: it was made of another staging log`,
  ]);
  expect(names()).toEqual(["lake.notes", "lake.t3"]);
  await remove();
  expect(names()).toEqual(["lake.notes", "lake.t3"]);
});

it("that was cut off is finished by the next", async () => {
  await made(log, ["1", "2"]);
  let drops = 0;
  engine.before = (statement) => {
    if (statement.startsWith("DROP TABLE") && ++drops === 2) throw new Error("[INTERNAL_ERROR] x SQLSTATE: XX000");
  };
  await expect(remove()).rejects.toMatchObject({
    kind: "destination",
    message: expect.stringContaining("INTERNAL_ERROR"),
  });
  expect(names()).toHaveLength(1);
  await remove();
  expect(names()).toEqual([]);
});

it("lets nothing commit that the applier had sent before", async () => {
  await made(log, ["1"]);
  await log.changes(tableSchema("1", "t1", { id: "long*" }), [{ op: 0, row: { id: "2" } }]);
  await log.commit();
  let goOn = () => {};
  engine.before = (statement) => {
    if (!isMerge(statement)) return;
    return new Promise((resolve) => {
      goOn = resolve;
    });
  };
  // Of a process that is gone, whose statement runs on.
  const sent = new Promise<{ ended: Promise<unknown> }>((resolve) => {
    let isGone = false;
    const run = (statement: string) => {
      if (isGone) return new Promise<never>(() => {});
      const ended = engine.run(statement);
      if (!isMerge(statement)) return ended;
      isGone = true;
      resolve({ ended: ended.catch((error: unknown) => error) });
      return new Promise<never>(() => {});
    };
    void applyToWarehouse(log, async () => ({ run, close: async () => {} }), { tables: named, schema: "lake" });
  });
  const { ended } = await sent;
  await remove();
  goOn();
  expect(await ended).toMatchObject({ kind: "conflict" });
  expect(names()).toEqual([]);
});

it.each<[string, (folder: string) => object]>([
  ["a token of a file", (folder) => ({ token: { file: join(folder, "token") } })],
  ["OAuth of a service principal", () => ({ clientId: "lake", clientSecret: { env: "SECRET_OF_DROP_TEST" } })],
  ["a profile with OAuth", (folder) => ({ host: undefined, profile: "service", configFile: join(folder, "cfg") })],
])("is let in by %s", async (_, identity) => {
  await made(log, ["1"]);
  front.principals.set("lake", "dose-1");
  vi.stubEnv("SECRET_OF_DROP_TEST", "dose-1");
  const host = `https://localhost:${front.port}`;
  writeFileSync(join(log.folder, "token"), token);
  writeFileSync(join(log.folder, "cfg"), `[service]\nhost = ${host}\nclient_id = lake\nclient_secret = dose-1\n`);
  const { destination } = inputs();
  await remove({ destination: { ...destination, token: undefined, ...identity(log.folder) } });
  vi.unstubAllEnvs();
  expect(names()).toEqual([]);
});

it("is done from here for an applier that ran on another machine, without its folders", async () => {
  await made(log, ["1"]);
  vi.stubEnv("NODE_EXTRA_CA_CERTS", env.NODE_EXTRA_CA_CERTS);
  await dropFromHere(applierSpec(inputs({ stateDir: "/proc/nowhere" })), { mainPath });
  vi.unstubAllEnvs();
  expect(names()).toEqual([]);
});
