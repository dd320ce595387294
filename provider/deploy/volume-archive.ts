import { text } from "node:stream/consumers";
import { extract, pack } from "tar-stream";
import { SluiceError } from "../../runtime/errors";
import { ask, type Engine, find } from "./docker-engine";
import type { Owner } from "./private-files";

/** Files that the engine unpacks, or has packed: name to content. */
export interface ArchiveEntry {
  /** relative to where it is unpacked */
  name: string;
  /** null: a folder */
  content: string | null;
  mode: number;
}

/** Its owner reads it; nobody writes it. */
export const privateFile = (name: string, content: string): ArchiveEntry => ({ name, content, mode: 0o400 });

/** More than the folder of a process ever has. */
const bytesMax = 64 * 1024 * 1024;

/** By way of a container, which needs not run: the engine writes into its volumes. */
export async function putFiles(
  engine: Engine,
  container: string,
  path: string,
  entries: ArchiveEntry[],
  owner: Owner,
): Promise<void> {
  const archive = pack();
  for (const { name, content, mode } of entries) {
    const header = { name, mode, ...owner, mtime: new Date() };
    if (content === null) archive.entry({ ...header, type: "directory" });
    else archive.entry(header, content);
  }
  archive.finalize();
  const chunks: Buffer[] = [];
  for await (const chunk of archive) chunks.push(chunk as Buffer);
  await ask(engine, `writing into ${path} of a container`, () =>
    engine.docker.getContainer(container).putArchive(Buffer.concat(chunks), { path }),
  );
}

/** Files of a folder by name, those that are asked for; null when there is no such folder, or container. */
export async function getFiles(
  engine: Engine,
  container: string,
  path: string,
  isWanted: (name: string) => boolean,
): Promise<Map<string, ArchiveEntry> | null> {
  const archive = await getArchive(engine, container, path, bytesMax);
  if (archive === null) return null;
  if (archive === "larger")
    throw new SluiceError("process", `${path} of a container has more than ${bytesMax} bytes`, {
      remedy: "Look what is in it besides configuration, status and secrets, and remove that.",
    });
  const files = new Map<string, ArchiveEntry>();
  const reader = extract();
  reader.end(archive);
  for await (const entry of reader) {
    const { name: inArchive, type, mode = 0 } = entry.header;
    // The folder's own name is the first part.
    const name = inArchive.split("/").slice(1).join("/");
    if (type === "file" && isWanted(name)) files.set(name, { name, content: await text(entry), mode });
    else entry.resume();
  }
  return files;
}

/** Whether there is nothing in a folder; true when there is no such folder. */
export async function isEmptyFolder(engine: Engine, container: string, path: string): Promise<boolean> {
  const archive = await getArchive(engine, container, path, 64 * 1024);
  if (archive === null) return true;
  if (archive === "larger") return false;
  const reader = extract();
  reader.end(archive);
  let entries = 0;
  for await (const entry of reader) {
    entries++;
    entry.resume();
  }
  return entries <= 1;
}

async function getArchive(
  engine: Engine,
  container: string,
  path: string,
  max: number,
): Promise<Buffer | "larger" | null> {
  const doing = `reading ${path} of a container`;
  const stream = await find(engine, doing, () => engine.docker.getContainer(container).getArchive({ path }));
  if (stream === null) return null;
  return ask(engine, doing, async () => {
    const chunks: Buffer[] = [];
    let bytes = 0;
    // Ended here it ends the answer too.
    for await (const chunk of stream) {
      bytes += (chunk as Buffer).length;
      if (bytes > max) return "larger";
      chunks.push(chunk as Buffer);
    }
    return Buffer.concat(chunks);
  });
}
