// Contract: messages of pgoutput and rows of COPY BINARY, recorded from a server and then damaged (cut, bytes flipped,
// lengths changed), are refused with the place of the damage, or read as what they then say. Never another exception,
// a read beyond their bytes, or a hang (invariants 3 and 4). SLUICE_FUZZ_COUNT and SLUICE_SEED choose more, or again.
import { EventEmitter } from "node:events";
import type { Socket } from "node:net";
import type { Client, Connection, Submittable } from "pg";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { readTableSchemas } from "../../../runtime/change/catalog";
import { TableSpool, type TransactionMeta } from "../../../runtime/change/spool";
import { copyTable } from "../../../runtime/change/table-copy";
import type { TableSchema } from "../../../runtime/change/table-schema";
import { typeOptionsSchema } from "../../../runtime/config";
import { SluiceError } from "../../../runtime/errors";
import { copyOut } from "../../../runtime/postgres/copy-out";
import { MalformedBytes } from "../../../runtime/postgres/message-bytes";
import { PgoutputReader } from "../../../runtime/postgres/pgoutput";
import type { PgoutputHandler, StreamedTransactionHandler } from "../../../runtime/postgres/pgoutput-handler";
import { ReplicationFrames } from "../../../runtime/postgres/replication-frames";
import { pinnedSessionSettings } from "../../../runtime/postgres/session-settings";
import { damage } from "../../support/damaged-bytes";
import { int8, int32, int64, letter, message } from "../../support/pgoutput-messages";
import { startPostgres, type TestPostgres } from "../../support/postgres-server";
import { Random } from "../../support/random";
import { testSeed } from "../../support/test-seed";

const count = Number(process.env.SLUICE_FUZZ_COUNT ?? 12_000);
const seed = testSeed;

let postgres: TestPostgres;
let client: Client;
let schema: TableSchema;
/** a message, and what stands open before it */
let recorded: { bytes: Buffer; place: "outside" | "transaction" | "block" }[] = [];
let rows: Buffer[] = [];

beforeAll(async () => {
  postgres = await startPostgres({ settings: { logical_decoding_work_mem: "64kB" } });
  client = await postgres.client();
  for (const [name, value] of Object.entries(pinnedSessionSettings)) {
    if (name !== "search_path") await client.query("SELECT set_config($1, $2, false)", [name, value]);
  }
  await client.query(`
    CREATE TYPE mood AS ENUM ('good', 'bad');
    CREATE TABLE fuzzed (id int PRIMARY KEY, small int2, big int8, ok bool, name text, amount numeric(20,4), any_number numeric,
      single float4, double float8, price money, day date, at timestamptz, local_at timestamp, raw bytea, uid uuid, mood mood,
      numbers int[], notes text[], amounts numeric(9,2)[]);
    ALTER TABLE fuzzed REPLICA IDENTITY FULL;
    CREATE PUBLICATION fuzzed FOR TABLE fuzzed`);
  const slots = { text: "false", binary: "true" };
  for (const slot of Object.keys(slots)) {
    await client.query("SELECT pg_create_logical_replication_slot($1, 'pgoutput')", [slot]);
  }
  const values = `n, n, n::bigint * 1000000007, n % 2 = 0, 'name ' || n, n * 1.25, n / 7.0, n / 3.0, n / 3.0, (n * 1.1)::numeric::money,
    date '2020-01-01' + n, now() + n * interval '1 hour', now() + n * interval '1 second', decode(md5(n::text), 'hex'), md5(n::text)::uuid, 'good',
    ARRAY[n, NULL, -n], ARRAY['a b', 'q"', NULL], CASE WHEN n % 2 = 0 THEN ARRAY[[n], [n]] ELSE ARRAY[n / 4.0, 0] END`;
  await client.query(`INSERT INTO fuzzed SELECT ${values} FROM generate_series(1, 5) n;`);
  await client.query(`UPDATE fuzzed SET id = 100, name = NULL WHERE id = 1; DELETE FROM fuzzed WHERE id = 2;`);
  await client.query(
    "SELECT pg_logical_emit_message(true, 'sluice.ddl', '{}'), pg_logical_emit_message(false, 'beat', 'x')",
  );
  // Blocks of an open transaction, with subtransactions, one of them rolled back.
  await client.query(`BEGIN; INSERT INTO fuzzed SELECT ${values} FROM generate_series(1000, 1400) n; SAVEPOINT a`);
  await client.query(`INSERT INTO fuzzed SELECT ${values} FROM generate_series(2000, 2400) n; ROLLBACK TO a`);
  await client.query(`INSERT INTO fuzzed SELECT ${values} FROM generate_series(3000, 3400) n; COMMIT; TRUNCATE fuzzed`);
  await client.query(`INSERT INTO fuzzed SELECT ${values} FROM generate_series(1, 20) n`);
  const options = typeOptionsSchema.parse({ arrays: "nested" });
  const [found] = await readTableSchemas(client, "fuzzed", options);
  schema = { ...found.schema, schemaId: 1 };
  for (const [slot, binary] of Object.entries(slots)) {
    const changes = await client.query<{ data: Buffer }>(
      `SELECT data FROM pg_logical_slot_get_binary_changes($1, NULL, NULL, 'proto_version', '2', 'streaming', 'on',
         'messages', 'true', 'publication_names', 'fuzzed', 'binary', $2)`,
      [slot, binary],
    );
    recorded.push(...withPlaces(changes.rows.map(({ data }) => data)));
  }
  // Of the many inserts a few do.
  const kinds = new Map<string, number>();
  recorded = recorded.filter(({ bytes, place }) => {
    const kind = `${place} ${bytes[0]} ${bytes[5]}`;
    kinds.set(kind, (kinds.get(kind) ?? 0) + 1);
    return (kinds.get(kind) as number) <= 20;
  });
  const columns = schema.columns.map(({ name }) => (name === "mood" ? "mood::text" : name));
  await client.query("BEGIN");
  await copyOut(client, `COPY (SELECT ${columns.join(", ")} FROM fuzzed) TO STDOUT (FORMAT binary)`, {
    signal: AbortSignal.timeout(30_000),
    onData: (buffer, start, end) => {
      rows.push(Buffer.from(buffer.subarray(start, end)));
      return true;
    },
  }).done;
  rows = rows.slice(1, -1);
});
afterAll(async () => {
  await client?.end();
  await postgres?.stop();
});

function withPlaces(messages: Buffer[]): typeof recorded {
  let place: (typeof recorded)[number]["place"] = "outside";
  return messages.map((bytes) => {
    const before = place;
    const kind = String.fromCharCode(bytes[0]);
    if (kind === "B") place = "transaction";
    if (kind === "S") place = "block";
    if (kind === "C" || kind === "E") place = "outside";
    return { bytes, place: before };
  });
}

function handlerOf(spool: TableSpool): PgoutputHandler & StreamedTransactionHandler {
  const transaction: TransactionMeta = { commitLsn: 1n, commitTimeMicros: 1n, nextOrdinal: 0 };
  const isOurs = (relationId: number) => String(relationId) === schema.tableId;
  const nothing = () => {};
  return {
    begin: nothing,
    commit: nothing,
    relation: nothing,
    truncate: nothing,
    message: nothing,
    streamStart: nothing,
    subtransaction: nothing,
    streamStop: nothing,
    streamCommit: nothing,
    streamAbort: nothing,
    insert: (id, buffer, tuple, end) => {
      if (isOurs(id)) spool.appendInsert(buffer, tuple, end, transaction);
    },
    update: (id, buffer, oldTuple, oldKind, tuple, end) => {
      if (isOurs(id)) spool.appendUpdate(buffer, oldTuple, oldKind, tuple, end, transaction);
    },
    delete: (id, buffer, tuple, kind, end) => {
      if (isOurs(id)) spool.appendDelete(buffer, tuple, kind, end, transaction);
    },
  };
}

describe(`damaged bytes, seed ${seed}`, { timeout: 180_000 }, () => {
  it("of pgoutput are refused with the place, or read", () => {
    const random = new Random(seed);
    const outcomes: Record<string, number> = { read: 0 };
    expect(new Set(recorded.map(({ bytes }) => String.fromCharCode(bytes[0])))).toEqual(new Set("BCRYIUDTMSEcA"));
    for (let run = 0; run < count; run++) {
      const { bytes, place } = random.choose(recorded);
      const { buffer, start, end } = damage(bytes, random);
      const handler = handlerOf(new TableSpool(schema, "changes"));
      const reader = new PgoutputReader(handler, handler);
      const opening = place === "transaction" ? message.begin(1n, 5) : message.streamStart(5, true);
      if (place !== "outside") reader.read(opening, 0, opening.length);
      try {
        reader.read(buffer, start, end);
        outcomes.read++;
      } catch (error) {
        const told = `run ${run}: ${error instanceof Error ? error.stack : error}\n${buffer.toString("hex", start, end)}`;
        if (!(error instanceof SluiceError)) throw new Error(told);
        outcomes[error.kind] = (outcomes[error.kind] ?? 0) + 1;
        if (error.kind !== "protocol") {
          // Kinds that weren't asked for, and binary values of a type that is read as text only.
          expect(["unsupported", "conflict", "unrepresentable"], told).toContain(error.kind);
          continue;
        }
        const at = /\(at byte (\d+)\)$/.exec(error.message)?.[1];
        expect(at, told).toBeDefined();
        expect(Number(at), told).toBeLessThanOrEqual(end - start);
      }
    }
    expect(outcomes.protocol).toBeGreaterThan(count / 3);
    expect(outcomes.read).toBeGreaterThan(count / 50);
  });

  it("of COPY BINARY are refused with the place, or read", () => {
    const random = new Random(seed + 1);
    let refused = 0;
    for (let run = 0; run < count; run++) {
      const { buffer, start, end } = damage(random.choose(rows), random);
      try {
        new TableSpool(schema, "snapshot").appendCopyRow(buffer, start, end);
      } catch (error) {
        const told = `run ${run}: ${error instanceof Error ? error.stack : error}\n${buffer.toString("hex", start, end)}`;
        if (error instanceof SluiceError && error.kind === "unrepresentable") continue;
        if (!(error instanceof MalformedBytes)) throw new Error(told);
        expect(error.at, told).toBeGreaterThanOrEqual(start);
        expect(error.at, told).toBeLessThanOrEqual(end);
        refused++;
      }
    }
    expect(refused).toBeGreaterThan(count / 3);
  });

  it("of the replication connection's frames are refused with the place, or handed on whole", () => {
    const random = new Random(seed + 2);
    let refused = 0;
    for (let run = 0; run < count; run++) {
      const frames = Array.from({ length: random.between(1, 4) }, () => frameOf(random.choose(recorded).bytes, random));
      const { buffer, start, end } = damage(Buffer.concat(frames), random);
      const socket = new EventEmitter();
      socket.on("data", () => {});
      let failure: unknown = null;
      const handler = {
        onMessage: (data: Buffer, from: number, to: number) =>
          expect(0 < from && from <= to && to <= data.length).toBe(true),
        onKeepalive: () => {},
        onHeard: () => {},
        onFailed: (error: unknown) => {
          failure = error;
        },
      };
      new ReplicationFrames(socket as Socket, handler);
      for (let at = start; at < end; ) {
        const next = Math.min(end, at + random.between(1, 60));
        socket.emit("data", buffer.subarray(at, next));
        at = next;
      }
      if (failure === null) continue;
      expect(failure).toBeInstanceOf(SluiceError);
      expect((failure as SluiceError).message).toMatch(/\(at byte \d+\)$/);
      refused++;
    }
    expect(refused).toBeGreaterThan(count / 20);
  });

  it("of a COPY's messages are refused with the place, or read, or end the copy", async () => {
    const random = new Random(seed + 3);
    const outcomes = { protocol: 0, read: 0, cut: 0, foreign: 0 };
    const copyData = (content: Buffer) => Buffer.concat([letter("d"), int32(content.length + 4), content]);
    const header = Buffer.concat([Buffer.from("PGCOPY\n\u00ff\r\n\0", "latin1"), int32(0), int32(0)]);
    const done = Buffer.concat([letter("c"), int32(4)]);
    expect(await copyOf(Buffer.concat([copyData(header), ...rows.map(copyData), done]), random)).toBeNull();
    for (let run = 0; run < count / 4; run++) {
      const whole = [header, random.choose(rows), random.choose(rows), Buffer.from([255, 255])].map(copyData);
      const { buffer, start, end } = damage(Buffer.concat(whole), random);
      const error = await copyOf(Buffer.concat([buffer.subarray(start, end), done]), random);
      const told = `run ${run}: ${error instanceof Error ? error.stack : error}\n${buffer.toString("hex", start, end)}`;
      if (error === null) outcomes.read++;
      else if (!(error instanceof SluiceError)) throw new Error(told);
      else if (error.kind === "protocol") {
        expect(error.message, told).toMatch(/\(at byte \d+\)$/);
        outcomes.protocol++;
      } else if (error.kind === "unreachable") outcomes.cut++;
      else {
        expect(["internal", "unrepresentable"], told).toContain(error.kind);
        if (error.kind === "internal") expect(error.message, told).toContain("pg doesn't know it");
        outcomes.foreign++;
      }
    }
    expect(outcomes.protocol, JSON.stringify(outcomes)).toBeGreaterThan(count / 20);
    expect(outcomes.read, JSON.stringify(outcomes)).toBeGreaterThan(count / 200);
  });
});

/** What a server sends of a COPY, in pieces as a socket gives them; the copy's end, or what it ends by. */
async function copyOf(bytes: Buffer, random: Random): Promise<unknown> {
  const stream = Object.assign(new EventEmitter(), {
    destroyed: false,
    pause: () => {},
    resume: () => {},
    destroy: () => stream.emit("close"),
  });
  const connection = { stream, query: () => {} };
  let running: Submittable & { handleReadyForQuery(): void; handleError(error: Error): void };
  stream.on("data", (rest: Buffer) => {
    // Here pg's own parser goes on.
    if (String.fromCharCode(rest[0]) === "c") running.handleReadyForQuery();
    else running.handleError(new Error("pg doesn't know it"));
  });
  const session = {
    connection,
    _queryable: true,
    query: (copy: typeof running) => {
      running = copy;
      copy.submit(connection as unknown as Connection);
    },
  };
  const done = copyTable(
    session as unknown as Client,
    schema,
    { relation: schema, rowFilter: null, blocks: null },
    {
      rowsMax: 1_000,
      bytesMax: 1024 * 1024,
      rowBytesMax: 1024 * 1024,
      signal: new AbortController().signal,
      onRows: async () => "free",
    },
  ).then(
    () => null,
    (error: unknown) => error,
  );
  for (let at = 0; at < bytes.length; ) {
    const next = Math.min(bytes.length, at + random.between(1, 90));
    stream.emit("data", bytes.subarray(at, next));
    at = next;
  }
  stream.emit("close");
  return done;
}

/** CopyData with XLogData, or a keepalive. */
function frameOf(bytes: Buffer, random: Random): Buffer {
  const content =
    random.between(0, 4) === 0
      ? Buffer.concat([letter("k"), int64(1n), int64(0n), int8(1)])
      : Buffer.concat([letter("w"), int64(1n), int64(1n), int64(0n), bytes]);
  return Buffer.concat([letter("d"), int32(content.length + 4), content]);
}
