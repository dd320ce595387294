import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type pg from "pg";
import { type OperationResult, Stack } from "../engine/engine";
import { endProcesses } from "../stack/ingestion-stack";
import { until } from "../support/conditions";
import { startPostgres } from "../support/postgres-server";
import { startTcpProxy, type TcpProxy } from "../support/tcp-proxy";

/** One operation, as it is shown. */
export interface Recorded {
  title: string;
  /** what was changed before it, in the program (`+ …`) or by hand */
  given: string;
  command: string;
  lines: string[];
}

interface Step {
  title: string;
  given: string;
  command: "pulumi preview" | "pulumi refresh" | "pulumi destroy";
  /** inputs of the component from here on, over those of before */
  change?: Record<string, unknown>;
  /** SQL by hand */
  sql?: string;
  /** it is carried out then; the inputs are taken back otherwise */
  isKept?: true;
  /** what happens to the source before it */
  byHand?: "dropSlot" | "cut" | "restore";
  fails?: boolean;
}

/** What docs/previews.md shows, in this order, on one stack. */
export const previewSteps: readonly Step[] = [
  { title: "A new stack", given: 'tables: ["public.orders"]', command: "pulumi preview", isKept: true },
  { title: "Nothing has changed", given: "", command: "pulumi preview" },
  {
    title: "A setting of the provider",
    given: "+ connection: { longTransactionMs: 60_000 }",
    command: "pulumi preview",
    change: { connection: { longTransactionMs: 60_000 } },
  },
  {
    title: "A setting of a process",
    given: "+ gateway: { batch: { ageMsMax: 500 } }",
    command: "pulumi preview",
    change: { gateway: { batch: { ageMsMax: 500 } } },
  },
  {
    title: "A table more",
    given: '+ tables: ["public.orders", "public.customer"]',
    command: "pulumi preview",
    change: { tables: ["public.orders", "public.customer"] },
    isKept: true,
  },
  {
    title: "Fewer rows and columns of a table",
    given: '+ tables: [{ table: "public.orders", columns: ["id", "total"], where: "id > 10" }, "public.customer"]',
    command: "pulumi preview",
    change: {
      tables: [{ table: "public.orders", columns: ["id", "total"], where: "id > 10" }, "public.customer"],
    },
  },
  {
    title: "A table less",
    given: '+ tables: ["public.customer"]',
    command: "pulumi preview",
    change: { tables: ["public.customer"] },
  },
  {
    title: "Values that are kept otherwise",
    given: '+ gateway: { types: { unconstrainedNumeric: "string" } }',
    command: "pulumi preview",
    change: { gateway: { types: { unconstrainedNumeric: "string" } } },
  },
  {
    title: "What rows of before can't follow",
    given: '+ tableOptions: [{ table: "public.orders", mode: "scd2" }]',
    command: "pulumi preview",
    change: { tableOptions: [{ table: "public.orders", mode: "scd2" }] },
    fails: true,
  },
  {
    title: "Another slot",
    given: '+ slotName: "orders_2"',
    command: "pulumi preview",
    change: { slotName: "orders_2" },
  },
  {
    title: "Another place for staging",
    given: '+ gateway: { stagingPath: "/srv/staging" }',
    command: "pulumi preview",
    change: { gateway: { stagingPath: "/srv/staging" } },
  },
  {
    title: "Fewer operations",
    given: '+ publication: { operations: ["insert", "update", "delete"] }',
    command: "pulumi preview",
    change: { publication: { operations: ["insert", "update", "delete"] } },
  },
  { title: "A refresh that finds nothing", given: "", command: "pulumi refresh" },
  {
    title: "A refresh that finds a publication changed by hand",
    given: "ALTER PUBLICATION … DROP TABLE public.customer",
    command: "pulumi refresh",
    sql: "ALTER PUBLICATION orders DROP TABLE public.customer",
  },
  { title: "What repairs it", given: "", command: "pulumi preview", isKept: true },
  {
    title: "A refresh that finds the slot dropped by hand",
    given: "SELECT pg_drop_replication_slot('orders')",
    command: "pulumi refresh",
    byHand: "dropSlot",
  },
  { title: "What makes it anew", given: "", command: "pulumi preview", isKept: true },
  {
    title: "Destroy while the database can't be reached",
    given: "",
    command: "pulumi destroy",
    byHand: "cut",
    fails: true,
  },
  { title: "Destroy, once it is there again", given: "", command: "pulumi destroy", byHand: "restore" },
];

/** Records all of them against a server of its own. */
export async function recordPreviews(): Promise<Recorded[]> {
  const server = await startPostgres({ settings: { max_slot_wal_keep_size: "1GB" } });
  const folder = mkdtempSync(join(tmpdir(), "sluice-previews-"));
  const client = await server.client();
  const proxy = await startTcpProxy(server);
  try {
    await client.query(`
      CREATE TABLE public.orders (id int PRIMARY KEY, total numeric NOT NULL);
      CREATE TABLE public.customer (id int PRIMARY KEY, name varchar(40));
      INSERT INTO public.orders SELECT g, g FROM generate_series(1, 1000) g;
      INSERT INTO public.customer SELECT g, g FROM generate_series(1, 200) g`);
    await client.query("VACUUM ANALYZE public.orders, public.customer");
    return await recordAll({ ...server.source(), port: proxy.port }, proxy, folder, client);
  } finally {
    await endProcesses(folder);
    await proxy.close();
    await client.end();
    await server.stop();
    rmSync(folder, { recursive: true, force: true });
  }
}

async function recordAll(source: object, proxy: TcpProxy, folder: string, client: pg.Client): Promise<Recorded[]> {
  let args: Record<string, unknown> = {
    source,
    publicationName: "orders",
    slotName: "orders",
    tables: ["public.orders"],
    destination: { kind: "local", path: join(folder, "lake") },
    stateDir: join(folder, "state"),
  };
  const lines: string[] = [];
  const open = (given: Record<string, unknown>) =>
    new Stack({
      projectDir: join(process.cwd(), "test/stack/program"),
      stack: "dev",
      stateFile: join(folder, "dev.json"),
      config: { "sluice-test:args": JSON.stringify(given) },
      env: { PULUMI_NODEJS_TRANSPILE_ONLY: "true" },
      onLine: (line) => lines.push(...line.split("\n")),
    });
  const shown = (line: string) => normalise(line, proxy.port, folder);

  const recorded: Recorded[] = [];
  for (const step of previewSteps) {
    const { title, given, command } = step;
    if (step.sql !== undefined) await client.query(step.sql);
    if (step.byHand !== undefined) await actByHand(step.byHand, proxy, client);
    const next = { ...args, ...step.change };
    lines.length = 0;
    expectOutcome(step, await run(open(next), command), lines);
    recorded.push({ title, given, command, lines: told(lines).map(shown) });
    if (step.isKept !== true) continue;
    args = next;
    expectOutcome({ ...step, fails: false }, await open(args).up(), lines);
    await settled(client);
  }
  return recorded;
}

function run(stack: Stack, command: Step["command"]): Promise<OperationResult> {
  switch (command) {
    case "pulumi preview":
      return stack.preview();
    case "pulumi refresh":
      return stack.refresh();
    case "pulumi destroy":
      return stack.destroy();
  }
}

function expectOutcome({ title, fails }: Step, { failed, diagnostics }: OperationResult, lines: string[]): void {
  if (failed === (fails === true)) return;
  throw new Error(`${title}: ${diagnostics.map(({ message }) => message).join("\n")}\n${lines.join("\n")}`);
}

async function actByHand(what: NonNullable<Step["byHand"]>, proxy: TcpProxy, client: pg.Client): Promise<void> {
  switch (what) {
    case "cut":
      proxy.cut();
      return;
    case "restore":
      proxy.restore();
      return;
    case "dropSlot":
      // The gateway doesn't come back meanwhile.
      proxy.cut();
      await until("the slot is dropped", async () => {
        const { rows } = await client.query<{ active: boolean }>(
          "SELECT active, pg_terminate_backend(active_pid) FROM pg_replication_slots",
        );
        if (rows.some(({ active }) => active)) return false;
        await client.query("SELECT pg_drop_replication_slot('orders')");
        return true;
      });
      proxy.restore();
  }
}

/** A walsender streams: what follows finds a gateway at work. */
const settled = (client: pg.Client) =>
  until("a walsender streams", async () => {
    const { rows } = await client.query("SELECT FROM pg_stat_replication WHERE state = 'streaming'");
    return rows.length > 0;
  });

/** Without what isn't ours: Node's warnings, the test program's output, an error that the provider's process repeats. */
function told(lines: string[]): string[] {
  let isRepeated = false;
  return lines.filter((line) => {
    if (/^ {3}Error: /.test(line)) isRepeated = true;
    else if (/^ {3}error: |^ [+~-] /.test(line)) isRepeated = false;
    return !isRepeated && line.trim() !== "" && !/ExperimentalWarning|--trace-warnings|\(found(Slot)?\)/.test(line);
  });
}

/** What differs from one recording to the next. */
function normalise(line: string, port: number, folder: string): string {
  return line
    .replaceAll(folder, "/srv/sluice")
    .replaceAll(`127.0.0.1:${port}`, "db.internal:5432")
    .replaceAll(`-p ${port}`, "-p 5432")
    .replaceAll(/\b[0-9a-f]{8}[-_][0-9a-f]{4}[-_][0-9a-f]{4}[-_][0-9a-f]{4}[-_][0-9a-f]{12}\b/g, "…")
    .replaceAll(/\(\d+\.\d s\)/g, "(… s)")
    .replaceAll(/\b[\d.]+ (?:bytes|KiB|MiB)\b/g, "… KiB");
}
