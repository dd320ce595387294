import { z } from "zod";
import { SluiceError } from "../errors";
import { version } from "../version";
import type { ObjectStore } from "./object-store";

/** `writer.json`: which program the newest gateway was. A hint, for messages only. */
const writerKey = "writer.json";
const writerSchema = z.object({ version: z.literal(1), program: z.string().min(1) });

/** To be called by a gateway that has read all that it starts from. */
export async function tellWriter(store: ObjectStore): Promise<void> {
  if ((await readWriter(store)) === version) return;
  await store.put(writerKey, JSON.stringify({ version: 1, program: version }));
}

async function readWriter(store: ObjectStore): Promise<string | null> {
  const content = await store.get(writerKey);
  try {
    return content === null ? null : writerSchema.parse(JSON.parse(content.toString("utf8"))).program;
  } catch {
    return null;
  }
}

/** The refusal of a document that a newer program wrote. @param what it has that this program doesn't know */
export async function writtenByNewer(store: ObjectStore, key: string, what: string): Promise<SluiceError> {
  const program = await readWriter(store);
  const isTold = program !== null && program !== version;
  const remedy = isTold
    ? `Run this process in version ${program} too (pulumi-sluice@${program}, the image pulumi-sluice:${program})`
    : "Run this process in the version of the program that wrote it, or a newer one";
  return new SluiceError(
    "staging",
    `staging: ${key} in ${store.location} has ${what}: a newer version of Sluice wrote it, and this is ${version}`,
    { remedy: `${remedy}; nothing is lost meanwhile.` },
  );
}
