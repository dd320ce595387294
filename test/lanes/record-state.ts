// Records the state of a quickstart stack as this version writes it: `npm run record:state`, at each release. The test of
// states (test/stack/released-states.test.ts) takes every file of test/fixtures/state.
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { version } from "../../runtime/version";
import { Stack } from "../engine/engine";
import { quickstartConfig } from "../stack/quickstart-config";
import { startPostgres } from "../support/postgres-server";

const fixtures = resolve(process.cwd(), "test/fixtures/state");

/** The same with every place of a known value named instead: `{{port}}`; a number is `{{#port}}`. */
function withPlaceholders(value: unknown, known: Record<string, string | number>): unknown {
  if (Array.isArray(value)) return value.map((inner) => withPlaceholders(inner, known));
  if (typeof value === "object" && value !== null) {
    return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, withPlaceholders(inner, known)]));
  }
  const names = Object.entries(known);
  if (typeof value === "number") return names.find(([, one]) => one === value)?.[0].replace(/.*/, "{{#$&}}") ?? value;
  if (typeof value !== "string") return value;
  return names.reduce((text, [name, one]) => text.replaceAll(String(one), `{{${name}}}`), value);
}

async function main(): Promise<void> {
  const server = await startPostgres();
  const folder = mkdtempSync(join(tmpdir(), "sluice-record-"));
  const client = await server.client();
  try {
    await client.query(`
      CREATE TABLE public.nation (id int PRIMARY KEY, name text);
      CREATE TABLE public.event (n int)`);
    const stack = new Stack({
      projectDir: process.cwd(),
      stack: "test",
      stateFile: join(folder, "stack.json"),
      config: quickstartConfig(server, ["public.nation", "public.event"], folder),
      env: { PULUMI_NODEJS_TRANSPILE_ONLY: "true" },
    });
    const made = await stack.up();
    if (made.failed) throw new Error(JSON.stringify(made.diagnostics));
    const { rows } = await client.query<{ oid: number; system: string; comment: string }>(
      `SELECT d.oid::int AS oid, (SELECT system_identifier::text FROM pg_control_system()) AS system,
              (SELECT obj_description(oid, 'pg_publication') FROM pg_publication) AS comment
         FROM pg_database d WHERE datname = current_database()`,
    );
    const read = (name: string) => {
      const path = join(folder, "state", made.outputs.slotName as string, name, "config.json");
      return JSON.parse(readFileSync(path, "utf8")) as unknown;
    };
    const known = {
      port: server.port,
      folder,
      passwordEnv: server.passwordEnv,
      systemIdentifier: rows[0].system,
      slotNameStart: `dbx_${rows[0].oid}_`,
      publicationNameStart: `dbx_pub_${rows[0].oid}_`,
    };
    const recorded = {
      state: JSON.parse(readFileSync(join(folder, "stack.json"), "utf8")) as unknown,
      publicationComment: rows[0].comment,
      configurations: { gateway: read("gateway"), applier: read("applier") },
    };
    const path = join(fixtures, `${process.argv[2] ?? version}.json`);
    mkdirSync(fixtures, { recursive: true });
    writeFileSync(path, `${JSON.stringify(withPlaceholders(recorded, known), null, 2)}\n`);
    console.log(path);
    await stack.destroy();
  } finally {
    await client.end();
    await server.stop();
    rmSync(folder, { recursive: true, force: true });
  }
}

main().catch((error: unknown) => {
  console.error(error);
  process.exitCode = 1;
});
