import { existsSync, mkdirSync, mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { z } from "zod";
import { type Deployer, openStack } from "../engine/deployer";

const sessionSchema = z.strictObject({
  version: z.literal(1),
  folder: z.string(),
  /** of the server */
  dataFolder: z.string(),
  host: z.string(),
  port: z.int(),
  database: z.string(),
  user: z.string(),
  passwordEnv: z.string(),
  /** folder of the Delta tables */
  lake: z.string(),
  tables: z.array(z.string()),
  target: z.enum(["local", "docker"]),
  /** inputs of the stack that has its tables in a warehouse */
  warehouse: z.strictObject({ staging: z.unknown(), destination: z.unknown() }).optional(),
});
/** What it takes to find a demo again; the password is in a file beside it. */
export type DemoSession = z.infer<typeof sessionSchema>;

/** The project, from `dist/test/demo`. */
const projectDir = join(__dirname, "..", "..", "..");

export function makeDemoFolder(): string {
  return mkdtempSync(join(tmpdir(), "sluice-demo-"));
}

export const passwordFile = (session: Pick<DemoSession, "folder">) => join(session.folder, "password");
export const stateDir = (session: Pick<DemoSession, "folder">) => join(session.folder, "state");

export function writeSession(session: DemoSession, password: string): void {
  mkdirSync(session.folder, { recursive: true, mode: 0o700 });
  writeFileSync(passwordFile(session), password, { mode: 0o600 });
  writeFileSync(join(session.folder, "demo.json"), JSON.stringify(session, null, 2), { mode: 0o600 });
}

/** @throws Error when the folder isn't one that a demo left */
export function readSession(folder: string): DemoSession {
  const path = join(folder, "demo.json");
  if (!existsSync(path)) throw new Error(`${folder} is not the folder of a demo: it has no demo.json`);
  const session = sessionSchema.parse(JSON.parse(readFileSync(path, "utf8")));
  process.env[session.passwordEnv] = readFileSync(passwordFile(session), "utf8");
  return session;
}

/** The quickstart stack at the project's root, or that of a warehouse, with these tables of the schema `public`. */
export function openDemoStack(
  session: DemoSession,
  tables: readonly string[],
  onLine: (line: string) => void,
): Promise<Deployer> {
  const { warehouse } = session;
  const common = {
    host: session.host,
    port: String(session.port),
    database: session.database,
    user: session.user,
    passwordEnv: session.passwordEnv,
    tables: JSON.stringify(tables.map((table) => `public.${table}`)),
    stateDir: stateDir(session),
  };
  // The source listens on loopback, which a container has in the machine's own network only.
  const deployment = session.target === "docker" ? { kind: "docker", network: "host" } : { kind: "local" };
  const [program, config] =
    warehouse === undefined
      ? ["sluice-quickstart", { ...common, destination: session.lake, deployment: JSON.stringify(deployment) }]
      : ["sluice-demo-warehouse", { ...common, ...mapText(warehouse) }];
  return openStack({
    projectDir: warehouse === undefined ? projectDir : join(projectDir, "test", "demo", "warehouse-stack"),
    stack: "demo",
    stateFile: join(session.folder, "stack.json"),
    config: Object.fromEntries(Object.entries(config).map(([key, value]) => [`${program}:${key}`, value])),
    // Node's notices about itself are none of the stack's.
    env: { NODE_NO_WARNINGS: "1" },
    onLine,
  });
}

function mapText(values: Record<string, unknown>): Record<string, string> {
  return Object.fromEntries(Object.entries(values).map(([key, value]) => [key, JSON.stringify(value)]));
}
