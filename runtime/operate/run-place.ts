import { mkdir, open, readFile, rename } from "node:fs/promises";
import { dirname, join } from "node:path";
import { type ApplierConfig, workFolder } from "../config";

/** Where the history of an applier's runs is kept, as JSON lines. What was written is durable when its promise resolves. */
export interface RunPlace {
  /** "" when there is none */
  read(): Promise<string>;
  /** left out where a place takes only the whole */
  append?(lines: string): Promise<void>;
  replace(lines: string): Promise<void>;
  /** from one write to the next, unless runs have ended */
  intervalMs: number;
}

/** What is used of staging. */
interface Documents {
  get(key: string): Promise<Buffer | null>;
  put(key: string, content: string): Promise<void>;
}

/** A volume takes a document only whole. */
const volumeIntervalMs = 30_000;

/**
 * Beside the tables, so that it outlives staging; of a warehouse's tables beside the status, but where staging is in a volume
 * there, as the process's folder may go with its pod.
 */
export async function runPlaceOf(config: ApplierConfig, staging: () => Promise<Documents>): Promise<RunPlace> {
  const isInVolume = config.destination.kind !== "local" && config.staging.kind === "volume";
  return isInVolume ? runDocument(await staging(), config.id) : runFile(runHistoryPath(workFolder(config), config.id));
}

export function runHistoryPath(folder: string, id: string): string {
  return join(folder, ".sluice", `runs-${encodeURIComponent(id)}.jsonl`);
}

export const runHistoryKey = (id: string) => `runs/${encodeURIComponent(id)}.jsonl`;

export function runDocument(staging: Documents, id: string): RunPlace {
  const key = runHistoryKey(id);
  return {
    read: async () => (await staging.get(key))?.toString("utf8") ?? "",
    replace: (lines) => staging.put(key, lines),
    intervalMs: volumeIntervalMs,
  };
}

export function runFile(path: string): RunPlace {
  const write = async (to: string, flag: "a" | "w", lines: string) => {
    await mkdir(dirname(path), { recursive: true });
    const file = await open(to, flag);
    try {
      await file.writeFile(lines);
      await file.sync();
    } finally {
      await file.close();
    }
  };
  return {
    read: () =>
      readFile(path, "utf8").catch((error: unknown) => {
        if (error instanceof Error && "code" in error && error.code === "ENOENT") return "";
        throw error;
      }),
    // A newline in front too: the line before may be one that a crash has cut.
    append: (lines) => write(path, "a", `\n${lines}`),
    async replace(lines) {
      await write(`${path}.tmp`, "w", lines);
      await rename(`${path}.tmp`, path);
    },
    intervalMs: 0,
  };
}
