import { randomUUID } from "node:crypto";
import { access, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { type DuckDbSession, literal, parquet } from "../duckdb-session";
import { type Action, actionSchema, type RemoveFile, removeSchema } from "./actions";
import { damaged, flush, listLog, logFolder, readOrNull, replaceFile } from "./delta-log";
import type { CheckpointFiles, DeltaSnapshot } from "./delta-snapshot";
import { fileRetentionMs } from "./retention";

/** Columns of a classic checkpoint, as the protocol's "Checkpoint Schema" has them. */
const vectorType =
  'STRUCT(storageType VARCHAR, pathOrInlineDv VARCHAR, "offset" INTEGER, sizeInBytes INTEGER, cardinality BIGINT)';
const columnTypes = {
  txn: "STRUCT(appId VARCHAR, version BIGINT, lastUpdated BIGINT)",
  add: `STRUCT(path VARCHAR, partitionValues MAP(VARCHAR, VARCHAR), size BIGINT, modificationTime BIGINT, dataChange BOOLEAN, stats VARCHAR, tags MAP(VARCHAR, VARCHAR), deletionVector ${vectorType}, clusteringProvider VARCHAR)`,
  remove: `STRUCT(path VARCHAR, deletionTimestamp BIGINT, dataChange BOOLEAN, extendedFileMetadata BOOLEAN, partitionValues MAP(VARCHAR, VARCHAR), size BIGINT, deletionVector ${vectorType})`,
  metaData:
    'STRUCT(id VARCHAR, "name" VARCHAR, description VARCHAR, format STRUCT(provider VARCHAR, options MAP(VARCHAR, VARCHAR)), schemaString VARCHAR, partitionColumns VARCHAR[], configuration MAP(VARCHAR, VARCHAR), createdTime BIGINT)',
  domainMetadata: "STRUCT(domain VARCHAR, configuration VARCHAR, removed BOOLEAN)",
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
 * need none: a failure harms not, and files of an unfinished one aren't read. Tombstones of the checkpoint before are taken
 * over from file to file, but for those that are over; the snapshot keeps none. Returns the number of actions.
 */
export async function writeCheckpoint(
  tablePath: string,
  snapshot: DeltaSnapshot,
  session: DuckDbSession,
  nowMs = Date.now(),
  actionsMax = partActionsMax,
): Promise<number> {
  const cutoffMs = nowMs - fileRetentionMs(snapshot.metaData?.configuration);
  const actions: Action[] = [];
  if (snapshot.protocol !== null) actions.push({ protocol: snapshot.protocol });
  if (snapshot.metaData !== null) actions.push({ metaData: snapshot.metaData });
  for (const txn of snapshot.txns.values()) actions.push({ txn });
  for (const domainMetadata of snapshot.domains.values()) actions.push({ domainMetadata });
  for (const add of snapshot.files.values()) actions.push({ add: { ...add, dataChange: false } });
  for (const remove of snapshot.tombstones.values()) {
    if ((remove.deletionTimestamp ?? 0) >= cutoffMs) actions.push({ remove: { ...remove, dataChange: false } });
  }
  const table = "checkpoint_actions";
  try {
    await loadActions(tablePath, table, actions, actionsMax, session);
    const carried = await carryTombstones(tablePath, snapshot, table, cutoffMs, actionsMax, session);
    const size = actions.length + carried;
    const [{ last }] = await session.rows<{ last: number }>(`SELECT max(part)::INTEGER AS last FROM ${table}`);
    const parts = size <= actionsMax ? 1 : last + 1;
    const paths: string[] = [];
    for (let part = 1; part <= parts; part++) {
      const rows = `FROM ${table} ${parts === 1 ? "" : `WHERE part = ${part - 1}`}`;
      const name = checkpointName(snapshot.version, part, parts);
      await writePart(tablePath, name, rows, session);
      paths.push(join(logFolder(tablePath), name));
    }
    const folder = logFolder(tablePath);
    await flush(folder);
    const hint = {
      version: snapshot.version,
      size,
      ...(parts === 1 ? {} : { parts }),
      numOfAddFiles: snapshot.files.size,
    };
    await replaceFile(join(folder, "_last_checkpoint"), JSON.stringify(hint));
    await flush(folder);
    snapshot.checkpointed(paths);
    return size;
  } finally {
    await session.run(`DROP TABLE IF EXISTS ${table}`);
  }
}

/** Makes a temporary table of actions, with the `part` that each is to be in. */
async function loadActions(
  tablePath: string,
  table: string,
  actions: Action[],
  actionsMax: number,
  session: DuckDbSession,
): Promise<void> {
  const types = Object.entries(columnTypes);
  await session.run(
    `CREATE OR REPLACE TEMP TABLE ${table} (part INTEGER, ${types.map(([name, type]) => `${name} ${type}`).join(", ")})`,
  );
  const columns = types.map(([name, type]) => `${name}: ${literal(type)}`).join(", ");
  const lines = join(logFolder(tablePath), `.${randomUUID()}.ndjson.tmp`);
  try {
    for (let part = 0; part * actionsMax < actions.length; part++) {
      const content = actions.slice(part * actionsMax, (part + 1) * actionsMax);
      const texts = content.map((action) => `${JSON.stringify(action)}\n`);
      await writeFile(lines, texts.join(""));
      // DuckDB takes buffers of twice this size.
      const lineBytesMax = texts.reduce((most, text) => Math.max(most, Buffer.byteLength(text)), 65_536);
      await session.run(
        `INSERT INTO ${table} BY NAME SELECT ${part} AS part, * FROM read_json(${literal(lines)}, format = 'newline_delimited',
          columns = {${columns}}, maximum_object_size = ${lineBytesMax})`,
      );
    }
  } finally {
    await rm(lines, { force: true });
  }
}

/** Adds the tombstones of the checkpoint before to a table of actions. Returns their number. */
async function carryTombstones(
  tablePath: string,
  snapshot: DeltaSnapshot,
  table: string,
  cutoffMs: number,
  actionsMax: number,
  session: DuckDbSession,
): Promise<number> {
  const source = await tombstoneSource(tablePath, snapshot, session);
  if (source === null) return 0;
  const key = (of: string) =>
    `concat_ws('|', ${of}.path, coalesce(${of}.deletionVector.pathOrInlineDv, ''), coalesce(${of}.deletionVector."offset", -1))`;
  const [{ before }] = await session.rows<{ before: bigint }>(`SELECT count(*) AS before FROM ${table}`);
  // What is active again, or removed again, has its newer action already.
  await session.run(
    `INSERT INTO ${table} BY NAME
     SELECT (${before} + row_number() OVER () - 1) // ${actionsMax} AS part, remove FROM
       (SELECT remove::${columnTypes.remove} AS remove FROM ${source} WHERE remove.deletionTimestamp >= ${cutoffMs}) old
     WHERE ${key("remove")} NOT IN (SELECT ${key("add")} FROM ${table} WHERE add IS NOT NULL)
       AND ${key("remove")} NOT IN (SELECT ${key("remove")} FROM ${table} WHERE remove IS NOT NULL)`,
  );
  const [{ after }] = await session.rows<{ after: bigint }>(`SELECT count(*) AS after FROM ${table}`);
  return Number(after - before);
}

/** The checkpoint with the tombstones that a snapshot doesn't have, for FROM; null when there are none. */
async function tombstoneSource(
  tablePath: string,
  { version, checkpoint }: DeltaSnapshot,
  session: DuckDbSession,
): Promise<string | null> {
  if (checkpoint === null) return null;
  // It may have gone with a log that another writer cleaned: a newer one has what it had.
  const isThere = (await Promise.all(checkpoint.paths.map(exists))).every(Boolean);
  const found = isThere ? checkpoint : (await listCheckpoints(tablePath, version)).at(0);
  if (found === undefined || found.version < checkpoint.version) {
    throw damaged(logFolder(tablePath), new Error(`the checkpoint of version ${checkpoint.version} is missing`));
  }
  const source = parquet(found.paths);
  const present = await session.rows<{ column_name: string }>(`DESCRIBE SELECT * FROM ${source}`);
  return present.some(({ column_name }) => column_name === "remove")
    ? `(SELECT remove FROM ${source} WHERE remove IS NOT NULL)`
    : null;
}

const exists = (path: string) =>
  access(path).then(
    () => true,
    () => false,
  );

/** Files removed since a time, or nobody knows when: those of the snapshot, and those of its checkpoint. */
export async function readTombstones(
  tablePath: string,
  snapshot: DeltaSnapshot,
  sinceMs: number,
  session: DuckDbSession,
): Promise<RemoveFile[]> {
  const isSince = ({ deletionTimestamp }: RemoveFile) => (deletionTimestamp ?? Number.POSITIVE_INFINITY) >= sinceMs;
  const removes = [...snapshot.tombstones.values()].filter(isSince);
  const source = await tombstoneSource(tablePath, snapshot, session);
  if (source === null) return removes;
  const rows = await session.rows<{ action: string }>(
    `SELECT to_json(remove::${columnTypes.remove}) AS action FROM ${source}
     WHERE coalesce(remove.deletionTimestamp >= ${sinceMs}, true)`,
  );
  return [...removes, ...rows.map(({ action }) => removeSchema.parse(JSON.parse(action)))];
}

/** `rows`: FROM and the rest of a query over a table of actions. */
async function writePart(tablePath: string, name: string, rows: string, session: DuckDbSession): Promise<void> {
  const folder = logFolder(tablePath);
  const temporary = join(folder, `.${randomUUID()}.parquet.tmp`);
  try {
    await session.run(
      `COPY (SELECT * EXCLUDE (part) ${rows}) TO ${literal(temporary)} (FORMAT parquet, COMPRESSION snappy)`,
    );
    await flush(temporary);
    await rename(temporary, join(folder, name));
  } finally {
    await rm(temporary, { force: true });
  }
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

/** Its actions but for tombstones. @throws SluiceError `destination` when it is damaged */
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
  const names = present
    .map(({ column_name }) => column_name)
    .filter((name) => name in columnTypes && name !== "remove");
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
