import { setTimeout as pause } from "node:timers/promises";
import type { ContainerInspectInfo } from "dockerode";
import type { RuntimeConfigInput } from "../../runtime/config";
import { configExitCode, SluiceError } from "../../runtime/errors";
import type { HealthReport } from "../../runtime/status";
import { containerConfiguration, exitText, isVariableFile, labels } from "./container-spec";
import type { FolderContent } from "./container-storage";
import { type Inspection, type ProcessSpec, renderConfiguration } from "./deployment";
import { ask, type Engine, find } from "./docker-engine";
import type { DockerOptions } from "./docker-options";

/** What a container of ours is doing. */
export function inspectionOf(
  found: ContainerInspectInfo,
  directory: string,
  options: DockerOptions,
  content: FolderContent | null,
): Inspection {
  const { State } = found;
  const status = content?.status ?? null;
  const settings = {
    configuration: configurationOf(found, directory, options, content?.configuration ?? null),
    secrets: declaredSecrets(content),
    version: status?.version,
  };
  if (State.Running && !State.Restarting) {
    const failure = status?.state;
    if (failure?.kind !== "failed") return { kind: "running", ...settings };
    return { kind: "failed", ...settings, message: failure.message, remedy: failure.remedy };
  }
  const isOnce = found.HostConfig.RestartPolicy?.Name === "on-failure";
  if (isOnce && State.Status === "exited" && State.ExitCode === 0) return { kind: "finished", ...settings };
  if (!State.Restarting) return { kind: "dead", ...settings };
  const memory = found.HostConfig.Memory === 0 ? undefined : found.HostConfig.Memory;
  const message = `its container ends at every start: ${exitText(State.ExitCode, State.OOMKilled, memory)}`;
  return { kind: "failed", ...settings, message };
}

/** Without those of variables, whose content is no input. */
function declaredSecrets(content: FolderContent | null): Record<string, string> | undefined {
  if (content === null) return undefined;
  const found = Object.entries(content.secretDigests);
  return Object.fromEntries(found.filter(([name]) => !isVariableFile(name)));
}

/** As the provider wanted it, unless somebody has changed its file. */
function configurationOf(
  { Config }: ContainerInspectInfo,
  directory: string,
  options: DockerOptions,
  written: string | null,
): string {
  const wanted = Config.Labels[labels.configuration] ?? "";
  if (written === null) return wanted;
  const config = JSON.parse(wanted) as RuntimeConfigInput;
  const given = containerConfiguration({ directory, config }, options);
  if (given === written) return wanted;
  try {
    // What is different in a container by itself was changed by nobody.
    const [now, before] = [JSON.parse(written), JSON.parse(given)] as Record<string, unknown>[];
    for (const [key, value] of Object.entries(config)) {
      if (JSON.stringify(now[key]) === JSON.stringify(before[key])) now[key] = value;
    }
    return renderConfiguration(now as unknown as RuntimeConfigInput);
  } catch {
    return written;
  }
}

/** Starts after which waiting any longer is pointless. */
const restartsMax = 3;

/** @throws SluiceError with the container's last log lines */
export async function waitUntilHealthy(
  engine: Engine,
  id: string,
  { config, startTimeoutMs }: ProcessSpec,
  options: DockerOptions,
): Promise<void> {
  const deadline = Date.now() + startTimeoutMs;
  const fail = async (message: string, remedy?: string): Promise<SluiceError> => {
    const lines = await lastLines(engine, id, 5);
    const tail = lines.length === 0 ? "" : `\n  last log lines:\n    ${lines.join("\n    ")}`;
    return new SluiceError("process", `the ${config.role} of ${config.id} ${message}${tail}`, {
      remedy: remedy ?? "Correct what its log says (docker logs, or the lines above), then run pulumi up again.",
    });
  };
  for (;;) {
    const found = await find(engine, "looking at the container", () => engine.docker.getContainer(id).inspect());
    if (found === null) throw await fail("was removed before it was healthy", "Run pulumi up again.");
    const { State, RestartCount } = found;
    if (State.Status === "exited" && State.ExitCode === 0) return;
    const exit = exitText(State.ExitCode, State.OOMKilled, options.memoryBytesMax);
    const remedy = State.OOMKilled ? "Raise deployment.memoryBytesMax." : undefined;
    if (State.Status === "exited" || State.Status === "dead")
      throw await fail(`ended before it was healthy: ${exit}`, remedy);
    if (State.Restarting && State.ExitCode === configExitCode) throw await fail("can't run with its settings");
    if (State.OOMKilled || RestartCount >= restartsMax) throw await fail(`crashes at every start: ${exit}`, remedy);
    const report = State.Running && !State.Restarting ? await askHealth(engine, id) : null;
    const state = report?.state ?? null;
    if (state?.kind === "failed") throw await fail(`failed: ${state.message}`, state.remedy);
    if (report?.healthy === true && state?.kind === "running") return;
    if (Date.now() > deadline) {
      const reason = state?.kind === "waiting" ? `: ${state.reason}` : "";
      throw await fail(
        `is not healthy after ${startTimeoutMs} ms${reason}`,
        "Look at the container's log, or raise startTimeoutMs.",
      );
    }
    await pause(100);
  }
}

/** Null while the container can't be asked. */
async function askHealth(engine: Engine, id: string): Promise<HealthReport | null> {
  try {
    const command = await engine.docker
      .getContainer(id)
      .exec({ Cmd: ["sluice", "health", "--json"], AttachStdout: true, AttachStderr: false });
    const stream = await command.start({});
    const chunks: Buffer[] = [];
    for await (const chunk of stream) chunks.push(chunk as Buffer);
    return JSON.parse(framedText(Buffer.concat(chunks))) as HealthReport;
  } catch {
    return null;
  }
}

export async function lastLines(engine: Engine, id: string, linesMax: number): Promise<string[]> {
  const output = await ask(engine, "reading the container's log", () =>
    engine.docker.getContainer(id).logs({ stdout: true, stderr: true, tail: linesMax }),
  ).catch(() => null);
  if (output === null) return [];
  const lines = framedText(output as unknown as Buffer)
    .trimEnd()
    .split("\n");
  return lines.filter((line) => line !== "").map((line) => line.slice(0, 500));
}

/** Output of several streams in frames: one byte of stream, three of nothing, four of length (Docker Engine API, attach). */
export function framedText(output: Buffer): string {
  const parts: Buffer[] = [];
  for (let at = 0; at + 8 <= output.length; ) {
    const length = output.readUInt32BE(at + 4);
    parts.push(output.subarray(at + 8, at + 8 + length));
    at += 8 + length;
  }
  return Buffer.concat(parts).toString("utf8");
}
