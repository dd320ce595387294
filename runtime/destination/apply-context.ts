import type { StagedFile } from "../staging/staged-commit";
import type { DuckDbSession } from "./duckdb-session";
import type { TypeChangeError } from "./schema-evolution";
import type { TargetTable } from "./target-table";

/** What a plan is carried out with. */
export interface ApplyContext {
  session: DuckDbSession;
  /** of the staging log */
  logId: string;
  /** names table and log in the Delta table's txn */
  appId: string;
  /** oid of the source's table */
  tableId: string;
  engineInfo: string;
  /** changes merged at a time, in bytes of their files; one file at least */
  batchBytesMax: number;
  target: (schemaId: number) => Promise<TargetTable>;
  /** a local path of a staged file, until `releaseStaged` */
  stagedPath: (file: StagedFile) => Promise<string>;
  releaseStaged: (file: StagedFile) => void;
  /** files of the table, as its log names them, that are damaged: their rows go */
  lost: ReadonlySet<string>;
  /** Resolves when the table may lose what it held before a snapshot, whose types don't hold it; else rejects. */
  loseHistory: (error: TypeChangeError) => Promise<void>;
}

/** Staged files as local ones, for as long as the work takes. */
export async function withStaged<T>(
  files: readonly StagedFile[],
  context: ApplyContext,
  work: (paths: string[]) => Promise<T>,
): Promise<T> {
  const taken = await Promise.allSettled(files.map((file) => context.stagedPath(file)));
  try {
    const paths = taken.map((each) => {
      if (each.status === "rejected") throw each.reason;
      return each.value;
    });
    return await work(paths);
  } finally {
    for (const [index, { status }] of taken.entries()) if (status === "fulfilled") context.releaseStaged(files[index]);
  }
}
