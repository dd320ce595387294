// The peer of `bench apply`, as a process of its own: every file that holds a changed key is written anew by DuckDB,
// which is what a merge without deletion vectors does. Usage: rewrite-worker FOLDER CHANGES FILE…
import { join } from "node:path";
import { DuckDBInstance } from "@duckdb/node-api";

async function rewrite([folder, changes, ...files]: string[]): Promise<void> {
  const instance = await DuckDBInstance.create(":memory:", { threads: "2", memory_limit: "1GiB" });
  const connection = await instance.connect();
  await connection.run(`CREATE TEMP TABLE latest AS SELECT * EXCLUDE (_op, _commit_lsn, _ordinal, _commit_time, _unchanged)
    FROM read_parquet('${changes}')`);
  for (const [index, file] of files.entries()) {
    await connection.run(`COPY (
        SELECT f.* FROM read_parquet('${file}') f ANTI JOIN latest l ON f.c1 = l.c1
        UNION ALL BY NAME SELECT l.* FROM latest l SEMI JOIN read_parquet('${file}') f ON f.c1 = l.c1
      ) TO '${join(folder, `${index}.parquet`)}' (FORMAT parquet, COMPRESSION zstd)`);
  }
}

rewrite(process.argv.slice(2)).then(
  () => process.exit(0),
  (error: unknown) => {
    process.stderr.write(`${error}\n`);
    process.exit(1);
  },
);
