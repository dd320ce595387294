// Contract: a password and a client key that are Pulumi secrets are nowhere in plain but in the gateway's files for this
// user alone: not in what previews, updates, refreshes and failures say, nor in the state, outputs, configuration files,
// logs, status documents, metrics, staging, arguments and environments of processes. A new value needs an update and no
// restart; one that a file is referred to by needs neither.
// Invariant 6: no secret leaves the place it was given to.
import { randomBytes } from "node:crypto";
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import type pg from "pg";
import { afterAll, beforeAll, expect, it } from "vitest";
import type { ApplierStatus, GatewayStatus } from "../../runtime/status";
import type { OperationResult } from "../engine/engine";
import { makeCertificate } from "../support/certificates";
import { until } from "../support/conditions";
import { startPostgres, type TestPostgres } from "../support/postgres-server";
import { setTls } from "../support/tls-server";
import { endProcesses, errorsOf, filesHolding, openIngestion, slotNames } from "./ingestion-stack";

let server: TestPostgres;
let client: pg.Client;
/** of the stack */
let folder: string;
/** of whoever keeps the secrets */
let vault: string;
const said: string[] = [];

const authority = makeCertificate({ subject: "Test Authority", isAuthority: true });
const sound = makeCertificate({ subject: "localhost", issuer: authority, names: ["localhost"] });
const certificate = makeCertificate({ subject: "ingest", issuer: authority });
/** by what they are */
const canaries: Record<string, string[]> = {};

function keep(name: string, text: string): { secretFile: string } {
  const lines = text.split("\n").filter((line) => line.length > 20 && !line.startsWith("-----"));
  canaries[name] = [...(canaries[name] ?? []), ...lines];
  writeFileSync(join(vault, name), text, { mode: 0o600 });
  return { secretFile: join(vault, name) };
}

const newPassword = () => `canary-${randomBytes(16).toString("hex")}`;

const setPassword = (password: string) => client.query(`ALTER ROLE ingest PASSWORD ${client.escapeLiteral(password)}`);

beforeAll(async () => {
  server = await startPostgres();
  client = await server.client();
  await client.query(`
    CREATE ROLE ingest LOGIN REPLICATION;
    GRANT CREATE ON DATABASE postgres TO ingest;
    CREATE TABLE public.a (id int PRIMARY KEY);
    ALTER TABLE public.a OWNER TO ingest;
    INSERT INTO public.a VALUES (1)`);
  await setTls(server, {
    server: sound,
    clientAuthority: authority,
    hba: ["all", "replication"].map(
      (database) => `hostssl ${database} ingest 127.0.0.1/32 scram-sha-256 clientcert=verify-full`,
    ),
  });
  folder = mkdtempSync(join(tmpdir(), "sluice-canary-"));
  vault = mkdtempSync(join(tmpdir(), "sluice-vault-"));
});

afterAll(async () => {
  if (folder !== undefined) await endProcesses(folder);
  await client?.end();
  await server?.stop();
  for (const path of [folder, vault]) if (path !== undefined) rmSync(path, { recursive: true, force: true });
});

function open(secrets: Record<string, unknown>) {
  return openIngestion(folder, "canary", {
    source: {
      host: "localhost",
      port: server.port,
      database: "postgres",
      user: "ingest",
      sslMode: "verify-full",
      sslRootCert: authority.certificate,
      sslCert: certificate.certificate,
      ...secrets,
    },
    tables: ["public.a"],
    destination: { kind: "local", path: join(folder, "lake") },
    stateDir: join(folder, "state"),
  });
}

/** Notes all that an operation tells. */
function told(result: OperationResult): OperationResult {
  said.push(JSON.stringify(result));
  return result;
}

function ok(result: OperationResult): OperationResult {
  expect(errorsOf(told(result))).toBe("");
  expect(result.failed).toBe(false);
  return result;
}

let statusPaths: string[] = [];
const gatewayStatus = () => JSON.parse(readFileSync(statusPaths[0], "utf8")) as GatewayStatus;

/** Ends the role's sessions and waits until what is written then is acknowledged. */
async function goesOn(id: number): Promise<void> {
  await client.query("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'ingest'");
  await client.query("INSERT INTO public.a VALUES ($1)", [id]);
  await until("the change is applied", () => {
    const { tables } = JSON.parse(readFileSync(statusPaths[1], "utf8")) as ApplierStatus;
    return tables.some(({ rows }) => rows === id);
  });
}

function readQuietly(path: string): string {
  try {
    return readFileSync(path, "latin1");
  } catch {
    return "";
  }
}

/** Where any of the secrets is, besides files for this user alone whose name says that they are secrets. */
async function places(): Promise<string[]> {
  const found: string[] = [];
  const texts = Object.values(canaries).flat();
  const forms = texts.flatMap((secret) => [secret, Buffer.from(secret).toString("base64").slice(0, -4)]);
  const holds = (text: string) => forms.some((form) => text.includes(form));
  const look = (place: string, text: string) => {
    if (holds(text)) found.push(place);
  };
  for (const path of filesHolding(folder, "")) {
    const isOurs = path.endsWith(".secret") && (statSync(path).mode & 0o777) === 0o600;
    if (!isOurs) look(path, readQuietly(path));
  }
  for (const pid of readdirSync("/proc").filter((name) => /^\d+$/.test(name))) {
    for (const name of ["cmdline", "environ"]) look(`/proc/${pid}/${name}`, readQuietly(`/proc/${pid}/${name}`));
  }
  for (const path of statusPaths) {
    const { httpPort } = JSON.parse(readFileSync(path, "utf8")) as GatewayStatus;
    for (const page of ["status", "metrics", "healthz"]) {
      const url = `http://127.0.0.1:${httpPort}/${page}`;
      look(url, await (await fetch(url)).text());
    }
  }
  look("what operations told", said.join("\n"));
  return found;
}

it("secrets are in their own files alone, through a life with failures and rotations", async () => {
  const password = newPassword();
  await setPassword(password);
  const sslKey = keep("sslKey", certificate.key);
  const stack = await open({ password: keep("password", password), sslKey });
  ok(await stack.preview());
  const { outputs } = ok(await stack.up());
  statusPaths = [outputs.gatewayStatusPath as string, outputs.applierStatusPath as string];
  expect(JSON.stringify(outputs.source)).not.toContain("ingest");
  await goesOn(2);
  // The looks below would find them.
  expect(filesHolding(folder, password).map((path) => basename(path))).toEqual(["password.secret"]);
  expect(filesHolding(folder, canaries.sslKey[0]).map((path) => basename(path))).toEqual(["ssl-key.secret"]);
  ok(await stack.refresh());
  const { pid } = gatewayStatus();

  // A key that belongs to another certificate.
  const other = keep("otherKey", makeCertificate({ subject: "ingest" }).key);
  const mistaken = await open({ password: keep("password", password), sslKey: other });
  expect(errorsOf(told(await mistaken.up()))).toMatch(/remedy: Check the certificates of both sides/);

  // A new value that the role doesn't have yet is refused; then it takes an update, and no restart.
  const second = newPassword();
  const rotated = await open({ password: keep("password", second), sslKey });
  expect(errorsOf(told(await rotated.up()))).toMatch(/password authentication failed[\s\S]*remedy: Check user/);
  await setPassword(second);
  const costs = ok(await rotated.up()).outputs.costs as Record<string, unknown>;
  expect(costs.gateway).toMatchObject({ kind: "inPlace", because: ["source"] });
  await goesOn(3);
  expect(gatewayStatus().pid).toBe(pid);
  expect(Object.values(canaries).flat().length).toBeGreaterThan(5);
  expect(await places()).toEqual([]);

  // By reference: the file and the role change, and nothing else.
  const reference = join(vault, "referred");
  writeFileSync(reference, second);
  const referring = await open({ password: { file: reference }, sslKey });
  ok(await referring.up());
  const withReference = gatewayStatus().pid;
  const third = newPassword();
  canaries.referred = [third];
  writeFileSync(reference, `${third}\n`);
  await setPassword(third);
  await goesOn(4);
  expect(gatewayStatus().pid).toBe(withReference);
  expect(ok(await referring.preview()).steps.filter(({ op }) => op !== "same" && op !== "read")).toEqual([]);
  expect(filesHolding(join(folder, "state"), second)).toEqual([]);
  expect(await places()).toEqual([]);

  ok(await referring.destroy());
  expect(await slotNames(client)).toEqual([]);
  statusPaths = [];
  expect(await places()).toEqual([]);
  expect(filesHolding(folder, third)).toEqual([]);
}, 240_000);
