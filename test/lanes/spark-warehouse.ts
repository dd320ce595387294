// The applier's warehouse mode against Spark with Delta, through @databricks/sql and what stands for Databricks' front.
// SLUICE_LANE_PARTS=modes,schema,schemaModes,large,layout,swap,lost,history,kills,more names what is done; default all but `more`, which is long.
// Usage: spark-warehouse PYTHON FOLDER [SPARK_PORT]; in a network namespace of its own, as Spark listens on every interface.
import { rmSync } from "node:fs";
import { join } from "node:path";
import { startSparkFront } from "../support/spark-front";
import { SparkServer } from "../support/spark-server";
import { history, kills, lostAnswers } from "./warehouse-disturbances";
import { modes, schemaChanges, schemaModes } from "./warehouse-histories";
import { Lane, laneReport } from "./warehouse-lane";
import { large, layout, swap } from "./warehouse-tables";
import { token } from "./warehouse-under-test";

async function main(python: string, folder: string, port: string | undefined): Promise<void> {
  const server = port === undefined ? await SparkServer.start(python, folder) : null;
  const front = await startSparkFront(server?.port ?? Number(port), token);
  const lane = new Lane(front, folder);
  const parts: Record<string, () => Promise<void>> = {
    modes: () => modes(lane, 1, 14, 1),
    schema: () => schemaChanges(lane, 2, 12, 3),
    schemaModes: () => schemaModes(lane, 2, 12, 2),
    more: async () => {
      for (const seed of [3, 4]) await modes(lane, seed, 30);
      for (const seed of [1, 4]) await schemaChanges(lane, seed, 14);
      for (const seed of [3, 4]) await schemaModes(lane, seed, 12, 4);
      await kills(lane, 2, 24);
    },
    layout: () => layout(lane),
    swap: () => swap(lane, 20_000),
    lost: () => lostAnswers(lane),
    history: () => history(lane),
    kills: () => kills(lane, 1, 12),
    large: () => large(lane, 2_000_000, 100_000),
  };
  const only = process.env.SLUICE_LANE_PARTS?.split(",") ?? Object.keys(parts).filter((name) => name !== "more");
  try {
    for (const name of only) {
      const startedMs = performance.now();
      await parts[name]();
      console.log(`${name}: ${Math.round((performance.now() - startedMs) / 1000)} s`);
    }
  } finally {
    await front.close();
    await server?.close();
    if (server !== null) rmSync(join(folder, "warehouse"), { recursive: true, force: true });
  }
}

main(process.argv[2], process.argv[3], process.argv[4]).then(
  () => process.exit(laneReport.isPassed ? 0 : 1),
  (error: unknown) => {
    console.error(error);
    process.exit(1);
  },
);
