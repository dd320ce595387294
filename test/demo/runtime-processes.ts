import { execFileSync } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import Docker from "dockerode";
import { lastLines } from "../../provider/deploy/container-health";
import { labels } from "../../provider/deploy/container-spec";
import { openEngine } from "../../provider/deploy/docker-engine";
import { localDeployment } from "../../provider/deploy/local";
import { lastLogLines, processFiles } from "../../provider/deploy/process-files";

/** Command lines of the processes that name this folder, but for our own. */
export function processesOf(folder: string): string[] {
  return commandLines().filter((line) => line.includes(`${folder}/`));
}

function commandLines(): string[] {
  if (process.platform !== "linux") {
    const lines = execFileSync("ps", ["-axo", "pid=,command="], { encoding: "utf8" }).split("\n");
    return lines.filter((line) => Number.parseInt(line, 10) !== process.pid);
  }
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name) && Number(name) !== process.pid)
    .map((pid) => {
      try {
        return readFileSync(`/proc/${pid}/cmdline`, "utf8").replaceAll("\0", " ");
      } catch {
        return "";
      }
    });
}

/** Ends the supervised processes of a state folder: what a demo that was interrupted leaves. */
export async function endProcesses(stateDir: string): Promise<void> {
  // One that is just being started may appear once more.
  for (let quiet = 0; quiet < 2; ) {
    const directories = processDirectories(stateDir);
    for (const directory of directories) await localDeployment().remove(directory, 10_000);
    quiet = directories.length === 0 ? quiet + 1 : 0;
    await pause(100);
  }
}

/** Containers of a state folder's processes, running or not; null when no engine answers. */
export async function containersOf(stateDir: string): Promise<Docker.ContainerInfo[] | null> {
  try {
    const all = await new Docker().listContainers({ all: true, filters: { label: [labels.directory] } });
    return all.filter(({ Labels }) => Labels[labels.directory].startsWith(`${stateDir}/`));
  } catch {
    return null;
  }
}

/** Removes what a demo that was interrupted leaves. */
export async function endContainers(stateDir: string): Promise<void> {
  for (const { Id } of (await containersOf(stateDir)) ?? [])
    await new Docker().getContainer(Id).remove({ force: true });
}

/** The last lines of each container's log. */
export async function containerLogLines(stateDir: string, linesMax: number): Promise<string[]> {
  const lines: string[] = [];
  for (const { Id, Names } of (await containersOf(stateDir)) ?? []) {
    lines.push(`last lines of the container ${Names[0]}:`, ...(await lastLines(openEngine({}), Id, linesMax)));
  }
  return lines;
}

function processDirectories(stateDir: string): string[] {
  try {
    return readdirSync(stateDir, { recursive: true, encoding: "utf8" })
      .filter((path) => basename(path) === processFiles.started)
      .map((path) => dirname(join(stateDir, path)));
  } catch {
    return [];
  }
}

/** The last lines of each process's log. */
export function logLines(stateDir: string, linesMax: number): string[] {
  return processDirectories(stateDir).flatMap((directory) => {
    const role = basename(directory);
    return [`last lines of the ${role}'s log:`, ...lastLogLines(directory, role, linesMax)];
  });
}
