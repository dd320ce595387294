import { randomUUID } from "node:crypto";
import { rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { type DuckDbSession, literal, parquet } from "../duckdb-session";
import { type Action, actionSchema } from "./actions";
import { damaged, flush, listLog, logFolder, replaceFile } from "./delta-log";
import type { DeltaSnapshot } from "./delta-snapshot";

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

/** How long removed files stay in checkpoints: the protocol's default of delta.deletedFileRetentionDuration. */
const tombstoneRetentionMs = 7 * 24 * 3600 * 1000;

const checkpointName = (version: number) => `${String(version).padStart(20, "0")}.checkpoint.parquet`;

/** Writes a checkpoint of the snapshot's version, then the hint that names it. Readers need none: a failure harms not. */
export async function writeCheckpoint(
  tablePath: string,
  snapshot: DeltaSnapshot,
  session: DuckDbSession,
  nowMs = Date.now(),
): Promise<void> {
  const actions: Action[] = [];
  if (snapshot.protocol !== null) actions.push({ protocol: snapshot.protocol });
  if (snapshot.metaData !== null) actions.push({ metaData: snapshot.metaData });
  for (const txn of snapshot.txns.values()) actions.push({ txn });
  for (const add of snapshot.files.values()) actions.push({ add: { ...add, dataChange: false } });
  for (const remove of snapshot.tombstones.values()) {
    if ((remove.deletionTimestamp ?? 0) < nowMs - tombstoneRetentionMs) continue;
    actions.push({ remove: { ...remove, dataChange: false } });
  }
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
    await rename(temporary, join(folder, checkpointName(snapshot.version)));
  } finally {
    await Promise.all([rm(lines, { force: true }), rm(temporary, { force: true })]);
  }
  const hint = { version: snapshot.version, size: actions.length, numOfAddFiles: snapshot.files.size };
  await replaceFile(join(folder, "_last_checkpoint"), JSON.stringify(hint));
  await flush(folder);
}

export interface CheckpointFiles {
  version: number;
  paths: string[];
}

/** The newest whole checkpoint up to a version, of one part or many; null when there is none. */
export async function findCheckpoint(
  tablePath: string,
  versionMax = Number.POSITIVE_INFINITY,
): Promise<CheckpointFiles | null> {
  const found = new Map<number, { names: string[]; parts: number }>();
  for (const name of await listLog(tablePath)) {
    const match = /^(\d{20})\.checkpoint(?:\.\d{10}\.(\d{10}))?\.parquet$/.exec(name);
    if (match === null) continue;
    const version = Number(match[1]);
    if (version > versionMax) continue;
    const parts = Number(match[2] ?? 1);
    const known = found.get(version);
    if (known === undefined || parts === 1) found.set(version, { names: [name], parts });
    else if (known.parts === parts) known.names.push(name);
  }
  const whole = [...found].filter(([, { names, parts }]) => names.length === parts).sort(([a], [b]) => b - a);
  if (whole.length === 0) return null;
  const [version, { names }] = whole[0];
  return { version, paths: names.map((name) => join(logFolder(tablePath), name)) };
}

/** @throws SluiceError `destination` when it is damaged */
export async function readCheckpoint(checkpoint: CheckpointFiles, session: DuckDbSession): Promise<Action[]> {
  const source = parquet(checkpoint.paths);
  const present = await session.rows<{ column_name: string }>(`DESCRIBE SELECT * FROM ${source}`);
  const names = present.map(({ column_name }) => column_name).filter((name) => name in columnTypes);
  const actions: Action[] = [];
  for (const name of names) {
    const rows = await session.rows<{ action: string }>(
      `SELECT to_json(${name}) AS action FROM ${source} WHERE ${name} IS NOT NULL`,
    );
    try {
      for (const { action } of rows) actions.push(actionSchema.parse({ [name]: JSON.parse(action) }));
    } catch (cause) {
      throw damaged(checkpoint.paths[0], cause);
    }
  }
  return actions;
}
