import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { DeltaTable } from "../../runtime/destination/delta/delta-table";
import { DuckDbSession, parquet } from "../../runtime/destination/duckdb-session";
import { liveRowsQuery } from "../../runtime/destination/live-rows";
import { tableColumns } from "../../runtime/destination/table-columns";
import { WorkingTable } from "../../runtime/destination/working-table";

const freshFiles = 10;
const runs = 5;

export interface ScanTimes {
  /** seconds, the least of some runs */
  ours: number;
  /** the same, with the vectors read from the table's folder each time */
  withVectors: number;
  /** of the same rows in files that were just written */
  fresh: number;
}

/** A full scan of a table as a reader does it, deletion vectors included, against one of the same rows written anew. */
export async function scanTable(tablePath: string, folder: string): Promise<ScanTimes> {
  const session = await DuckDbSession.open({ memoryBytesMax: 1024 ** 3, temporaryPath: join(folder, "scan-spill") });
  try {
    const table = await DeltaTable.open(tablePath, session);
    const columns = tableColumns(table.snapshot.metaData) ?? [];
    const names = columns.map(({ physicalName }) => physicalName);
    const live = async () => {
      const working = await WorkingTable.open(table, session);
      const indexes = working.paths.map((_, index) => index);
      return liveRowsQuery(session, working, indexes, columns);
    };
    const scan = async (relation: () => Promise<string>): Promise<number> => {
      let least = Number.POSITIVE_INFINITY;
      for (let run = 0; run < runs; run++) {
        const startedAt = performance.now();
        const maxima = names.map((name) => `max(${name})`).join(", ");
        await session.run(
          `CREATE OR REPLACE TEMP TABLE scanned AS SELECT count(*), ${maxima} FROM (${await relation()})`,
        );
        least = Math.min(least, (performance.now() - startedAt) / 1e3);
      }
      return least;
    };
    const fresh = join(folder, "fresh");
    mkdirSync(fresh);
    const paths = Array.from({ length: freshFiles }, (_, index) => join(fresh, `${index}.parquet`));
    const query = await live();
    for (const [index, path] of paths.entries()) {
      await session.run(
        `COPY (SELECT * FROM (${query}) WHERE c1 % ${freshFiles} = ${index}) TO '${path}' (FORMAT parquet, COMPRESSION zstd)`,
      );
    }
    return {
      ours: await scan(async () => query),
      withVectors: await scan(live),
      fresh: await scan(async () => `SELECT * FROM ${parquet(paths)}`),
    };
  } finally {
    await session.close();
  }
}
