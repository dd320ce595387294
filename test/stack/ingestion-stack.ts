import { existsSync, readdirSync, readFileSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import type pg from "pg";
import { localDeployment } from "../../provider/deploy/local";
import { processFiles } from "../../provider/deploy/process-files";
import { type Deployer, openStack } from "../engine/deployer";
import type { OperationResult } from "../engine/engine";

/** A stack of the test's program with these arguments; the same name and folder open the same stack. */
export function openIngestion(
  folder: string,
  name: string,
  args: Record<string, unknown>,
  config: Record<string, string> = {},
  options: { env?: Record<string, string>; onLine?: (line: string) => void } = {},
): Promise<Deployer> {
  return openStack({
    projectDir: join(process.cwd(), "test/stack/program"),
    stack: name,
    stateFile: join(folder, `${name}.json`),
    config: { "sluice-test:args": JSON.stringify(args), ...config },
    env: { PULUMI_NODEJS_TRANSPILE_ONLY: "true", ...options.env },
    onLine: options.onLine,
  });
}

interface KnownResource {
  urn: string;
  type: string;
  id?: string;
}

interface StateFile {
  /** the test engine's, as `pulumi stack export` writes it */
  deployment?: { resources?: KnownResource[] };
  /** the CLI's, in a file backend */
  checkpoint?: { latest?: { resources?: KnownResource[] } };
}

/** Ids of the resources of one kind in a stack's state, whoever deployed it. */
export const knownIds = (folder: string, name: string, kind: string): string[] =>
  known(folder, name, kind).map(({ id }) => id ?? "");

/** Their URNs, by which an operation is told to replace them. */
export const knownUrns = (folder: string, name: string, kind: string): string[] =>
  known(folder, name, kind).map(({ urn }) => urn);

/** The file with a stack's state, whoever deployed it. */
export function statePath(folder: string, name: string): string {
  const own = join(folder, `${name}.json`);
  return existsSync(own) ? own : join(`${own}.backend`, ".pulumi", "stacks", "sluice-test", `${name}.json`);
}

function known(folder: string, name: string, kind: string): KnownResource[] {
  const text = readQuietly(statePath(folder, name));
  const { deployment, checkpoint } = (text === "" ? {} : JSON.parse(text)) as StateFile;
  const resources = deployment?.resources ?? checkpoint?.latest?.resources ?? [];
  return resources.filter(({ type }) => type === `pulumi-nodejs:dynamic/sluice:${kind}`);
}

/** The text of all errors of an operation; a failed check reads as the test engine writes it, not as the CLI does. */
export function errorsOf(result: OperationResult): string {
  const errors = result.diagnostics.filter(({ severity }) => severity === "error");
  const text = errors.map(({ message }) => message).join("\n");
  return text.replaceAll(/property (\S+) value \{[\s\S]*?\} has a problem: /g, 'property "$1": ');
}

export async function slotNames(client: pg.Client): Promise<string[]> {
  const { rows } = await client.query<{ name: string }>(
    "SELECT slot_name AS name FROM pg_replication_slots ORDER BY 1",
  );
  return rows.map(({ name }) => name);
}

export async function publicationNames(client: pg.Client): Promise<string[]> {
  const { rows } = await client.query<{ name: string }>("SELECT pubname AS name FROM pg_publication ORDER BY 1");
  return rows.map(({ name }) => name);
}

/** Arguments of every process that has this text among them (Linux). */
export function processesNaming(text: string): string[] {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .map((pid) => readQuietly(`/proc/${pid}/cmdline`).replaceAll("\0", " "))
    .filter((commandLine) => commandLine.includes(text));
}

function readQuietly(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return "";
  }
}

/** Ends what a failed test left running below a folder. */
export async function endProcesses(folder: string): Promise<void> {
  const directories = filesHolding(folder, "").filter((path) => basename(path) === processFiles.started);
  for (const path of directories) await localDeployment().remove(dirname(path), 5_000);
}

/** Paths of the files below a folder that hold this text. */
export function filesHolding(folder: string, text: string): string[] {
  if (!existsSync(folder)) return [];
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
    .filter((path) => readQuietly(path).includes(text));
}
