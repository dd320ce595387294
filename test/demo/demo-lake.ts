import { existsSync } from "node:fs";
import { join } from "node:path";
import { openDelta } from "../support/delta-reader";
import type { Destination } from "../support/equality";

/** A table of the destination, by a reader that shares no code with what wrote it. */
export interface LakeTable extends Destination {
  /** how it lies there, for people */
  told: string;
  countRows(): Promise<number>;
}

/** What has the demo's tables. */
export interface DemoLake {
  /** of the stack, where it isn't the quickstart with a folder */
  inputs?: { staging: unknown; destination: unknown };
  /** a place that has such a table already, which isn't the demo's */
  taken(table: string): string | null;
  open(table: string): Promise<LakeTable>;
  /** what a destroyed stack has left beside the tables */
  leftovers(): string[];
  /** for the result */
  counts(): Record<string, number>;
  close(): Promise<void>;
}

/** Delta tables in a folder. */
export function folderLake(folder: string): DemoLake {
  const pathOf = (table: string) => join(folder, "public", table);
  return {
    taken: (table) => (existsSync(pathOf(table)) ? pathOf(table) : null),
    async open(table) {
      const view = await openDelta(pathOf(table));
      const { columns, batches, rowCount, files, version } = view;
      return { columns, batches, countRows: async () => rowCount, told: `${files.length} files, version ${version}` };
    },
    leftovers: () => [],
    counts: () => ({}),
    close: async () => {},
  };
}
