import { spawn, spawnSync } from "node:child_process";
import { join } from "node:path";

const root = join(__dirname, "..", "..", "..");
const lanes = join(root, "test", "lanes");
const skipped = 77;

/** Set for the demo in its network. */
const marks = { python: "SLUICE_DEMO_PYTHON", jars: "SLUICE_DEMO_JARS" } as const;

export interface SparkTools {
  python: string;
  /** folder of Delta's jars */
  jars: string;
}

/** What the demo in a network of its own has been given; null outside. */
export function givenTools(): SparkTools | null {
  const [python, jars] = [process.env[marks.python], process.env[marks.jars]];
  return python === undefined || jars === undefined ? null : { python, jars };
}

/** Something that the demo needs isn't to be had on this machine. */
export class MissingTool extends Error {}

/**
 * Spark and its jars, installed where they aren't yet, in SLUICE_LANES_FOLDER or below node_modules/.cache.
 * @throws MissingTool
 */
export function installTools(): SparkTools {
  const folder = process.env.SLUICE_LANES_FOLDER ?? join(root, "node_modules", ".cache", "sluice-lanes");
  const { status, stdout, error } = spawnSync(join(lanes, "spark-tools.sh"), [folder], {
    encoding: "utf8",
    stdio: ["ignore", "pipe", "inherit"],
  });
  if (status === 0) return { python: join(folder, "spark-venv", "bin", "python"), jars: join(folder, "spark") };
  const lines = (error?.message ?? stdout).trim().split("\n");
  if (status !== skipped) process.stderr.write(`${lines.join("\n")}\n`);
  throw new MissingTool(
    `Spark can't be had here: ${lines.at(-1)}. It takes Java 17 or newer on PATH, Python 3 with venv, and PyPI and Maven Central once.`,
  );
}

/**
 * The same demo in a network with loopback alone, as Spark's server listens on every interface.
 * @returns its exit code. @throws MissingTool where this user may make no network
 */
export async function runInOwnNetwork(tools: SparkTools, args: string[]): Promise<number> {
  if (spawnSync("unshare", ["--net", "true"]).status !== 0) {
    throw new MissingTool(
      "Spark's server listens on every interface, so the demo runs it in a network namespace, which this user can't make: unshare --net fails. Run the demo as root, on Linux.",
    );
  }
  const child = spawn(
    join(lanes, "own-network.sh"),
    [tools.python, process.execPath, join(__dirname, "main.js"), ...args],
    // A group of its own: else a terminal's signal would reach it twice.
    {
      stdio: "inherit",
      detached: true,
      env: { ...process.env, [marks.python]: tools.python, [marks.jars]: tools.jars },
    },
  );
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(signal, () => child.kill(signal));
  return new Promise((resolve, reject) => {
    child.on("error", reject);
    child.on("exit", (code) => resolve(code ?? 1));
  });
}
