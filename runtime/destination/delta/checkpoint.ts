import { randomUUID } from "node:crypto";
import { rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { type DuckDbSession, literal, parquet } from "../duckdb-session";
import { type Action, actionSchema } from "./actions";
import { damaged, flush, listLog, logFolder, readOrNull, replaceFile } from "./delta-log";
import type { DeltaSnapshot } from "./delta-snapshot";
import { fileRetentionMs } from "./retention";

/** Columns of a classic checkpoint, as the protocol's "Checkpoint Schema" has them. */
const vectorType =
  'STRUCT(storageType VARCHAR, pathOrInlineDv VARCHAR, "offset" INTEGER, sizeInBytes INTEGER, cardinality BIGINT)';
const columnTypes = {
  txn: "STRUCT(appId VARCHAR, version BIGINT, lastUpdated BIGINT)",
  add: `STRUCT(path VARCHAR, partitionValues MAP(VARCHAR, VARCHAR), size BIGINT, modificationTime BIGINT, dataChange BOOLEAN, stats VARCHAR, deletionVector ${vectorType})`,
  remove: `STRUCT(path VARCHAR, deletionTimestamp BIGINT, dataChange BOOLEAN, extendedFileMetadata BOOLEAN, partitionValues MAP(VARCHAR, VARCHAR), size BIGINT, deletionVector ${vectorType})`,
  metaData:
    'STRUCT(id VARCHAR, "name" VARCHAR, description VARCHAR, format STRUCT(provider VARCHAR, options MAP(VARCHAR, VARCHAR)), schemaString VARCHAR, partitionColumns VARCHAR[], configuration MAP(VARCHAR, VARCHAR), createdTime BIGINT)',
  protocol:
    "STRUCT(minReaderVersion INTEGER, minWriterVersion INTEGER, readerFeatures VARCHAR[], writerFeatures VARCHAR[])",
} as const;

/** Actions in one file of a checkpoint. */
const partActionsMax = 100_000;

const digits = (value: number, length: number) => String(value).padStart(length, "0");

function checkpointName(version: number, part: number, parts: number): string {
  const middle = parts === 1 ? "" : `.${digits(part, 10)}.${digits(parts, 10)}`;
  return `${digits(version, 20)}.checkpoint${middle}.parquet`;
}

/**
 * Writes a checkpoint of the snapshot's version, in several files when it is large, then the hint that names it. Readers
 * need none: a failure harms not, and files of an unfinished one aren't read.
 */
export async function writeCheckpoint(
  tablePath: string,
  snapshot: DeltaSnapshot,
  session: DuckDbSession,
  nowMs = Date.now(),
  actionsMax = partActionsMax,
): Promise<void> {
  const actions: Action[] = [];
  if (snapshot.protocol !== null) actions.push({ protocol: snapshot.protocol });
  if (snapshot.metaData !== null) actions.push({ metaData: snapshot.metaData });
  for (const txn of snapshot.txns.values()) actions.push({ txn });
  for (const add of snapshot.files.values()) actions.push({ add: { ...add, dataChange: false } });
  const keptMs = fileRetentionMs(snapshot.metaData?.configuration);
  for (const remove of snapshot.tombstones.values()) {
    if ((remove.deletionTimestamp ?? 0) < nowMs - keptMs) continue;
    actions.push({ remove: { ...remove, dataChange: false } });
  }
  const parts = Math.max(1, Math.ceil(actions.length / actionsMax));
  for (let part = 1; part <= parts; part++) {
    const content = actions.slice((part - 1) * actionsMax, part * actionsMax);
    await writePart(tablePath, checkpointName(snapshot.version, part, parts), content, session);
  }
  const folder = logFolder(tablePath);
  await flush(folder);
  const hint = {
    version: snapshot.version,
    size: actions.length,
    ...(parts === 1 ? {} : { parts }),
    numOfAddFiles: snapshot.files.size,
  };
  await replaceFile(join(folder, "_last_checkpoint"), JSON.stringify(hint));
  await flush(folder);
}

async function writePart(tablePath: string, name: string, actions: Action[], session: DuckDbSession): Promise<void> {
  const folder = logFolder(tablePath);
  const lines = join(folder, `.${randomUUID()}.ndjson.tmp`);
  const temporary = join(folder, `.${randomUUID()}.parquet.tmp`);
  try {
    const texts = actions.map((action) => `${JSON.stringify(action)}\n`);
    await writeFile(lines, texts.join(""));
    // DuckDB takes buffers of twice this size.
    const lineBytesMax = texts.reduce((most, text) => Math.max(most, Buffer.byteLength(text)), 65_536);
    const columns = Object.entries(columnTypes).map(([name, type]) => `${name}: ${literal(type)}`);
    await session.run(
      `COPY (SELECT * FROM read_json(${literal(lines)}, format = 'newline_delimited', columns = {${columns.join(", ")}},
        maximum_object_size = ${lineBytesMax})) TO ${literal(temporary)} (FORMAT parquet, COMPRESSION snappy)`,
    );
    await flush(temporary);
    await rename(temporary, join(folder, name));
  } finally {
    await Promise.all([rm(lines, { force: true }), rm(temporary, { force: true })]);
  }
}

export interface CheckpointFiles {
  version: number;
  paths: string[];
}

/** Whole checkpoints up to a version, of one part or many, newest first. */
export async function listCheckpoints(
  tablePath: string,
  versionMax = Number.POSITIVE_INFINITY,
): Promise<CheckpointFiles[]> {
  return wholeCheckpoints(await listLog(tablePath))
    .filter(({ version }) => version <= versionMax)
    .map(({ version, names }) => ({ version, paths: names.map((name) => join(logFolder(tablePath), name)) }));
}

/** Pure: the whole checkpoints among the names in a log's folder, newest first. */
export function wholeCheckpoints(logNames: string[]): { version: number; names: string[] }[] {
  const found = new Map<string, { version: number; parts: number; names: string[] }>();
  for (const name of logNames) {
    const match = /^(\d{20})\.checkpoint(?:\.\d{10}\.(\d{10}))?\.parquet$/.exec(name);
    if (match === null) continue;
    const key = `${match[1]}.${match[2] ?? ""}`;
    const known = found.get(key) ?? { version: Number(match[1]), parts: Number(match[2] ?? 1), names: [] };
    found.set(key, known);
    known.names.push(name);
  }
  return [...found.values()].filter(({ names, parts }) => names.length === parts).sort((a, b) => b.version - a.version);
}

/** @throws SluiceError `destination` when it is damaged */
export async function readCheckpoint(checkpoint: CheckpointFiles, session: DuckDbSession): Promise<Action[]> {
  const source = parquet(checkpoint.paths);
  const query = async <Row>(sql: string): Promise<Row[]> => {
    try {
      return await session.rows<Row>(sql);
    } catch (cause) {
      // Else it is the storage, which may pass.
      for (const path of checkpoint.paths) await readOrNull(path);
      throw damaged(checkpoint.paths[0], cause);
    }
  };
  const present = await query<{ column_name: string }>(`DESCRIBE SELECT * FROM ${source}`);
  const names = present.map(({ column_name }) => column_name).filter((name) => name in columnTypes);
  const actions: Action[] = [];
  for (const name of names) {
    const rows = await query<{ action: string }>(
      `SELECT to_json(${name}) AS action FROM ${source} WHERE ${name} IS NOT NULL`,
    );
    try {
      for (const { action } of rows) actions.push(actionSchema.parse({ [name]: JSON.parse(action) }));
    } catch (cause) {
      throw damaged(checkpoint.paths[0], cause);
    }
  }
  for (const kind of ["protocol", "metaData"] as const) {
    if (actions.some((action) => action[kind] !== undefined)) continue;
    throw damaged(checkpoint.paths[0], new Error(`it has no ${kind}`));
  }
  return actions;
}
