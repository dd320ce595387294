import { join } from "node:path";
import type { ApplierConfig } from "../config";
import { DuckDbSession } from "../destination/duckdb-session";
import { describeError, SluiceError } from "../errors";

/** The engine of one applier, with a folder for spilling of its own. @throws SluiceError `destination` */
export async function openSession(
  config: Pick<ApplierConfig, "id" | "memoryBytesMax">,
  destinationPath: string,
): Promise<DuckDbSession> {
  const temporaryPath = join(destinationPath, ".sluice", `spill-${encodeURIComponent(config.id)}`);
  try {
    return await DuckDbSession.open({ memoryBytesMax: config.memoryBytesMax, temporaryPath });
  } catch (cause) {
    if (!(cause instanceof Error && "code" in cause)) throw cause;
    throw new SluiceError("destination", `destination ${destinationPath} can't be written: ${describeError(cause)}`, {
      remedy: "Make the folder writable for the user that runs the applier, or choose another path.",
      cause,
    });
  }
}
