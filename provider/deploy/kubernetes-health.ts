import { configExitCode } from "../../runtime/errors";
import { exitText } from "./container-spec";
import type { LiveObject } from "./kubernetes-cluster";

/** What of a pod's status is read (core/v1 PodStatus). */
export interface PodStatus {
  phase?: string;
  conditions?: { type: string; status: string; reason?: string; message?: string }[];
  containerStatuses?: ContainerStatus[];
}
interface ContainerStatus {
  name: string;
  ready: boolean;
  restartCount: number;
  imageID?: string;
  state?: ContainerState;
  lastState?: ContainerState;
}
interface ContainerState {
  running?: object;
  waiting?: { reason?: string; message?: string };
  terminated?: { exitCode: number; reason?: string; message?: string };
}

export type Verdict =
  | { kind: "ready" }
  /** it ended with code 0 */
  | { kind: "done" }
  /** it may become ready by itself; `isUp`: its process runs */
  | { kind: "waiting"; reason: string; isUp: boolean }
  | { kind: "failed"; message: string; remedy: string };

/** Reasons of a waiting container that nothing but a change mends (kubelet, "ImagePullBackOff" and its like). */
const stuck: Record<string, string> = {
  ImagePullBackOff:
    "Push the image where the cluster's nodes can pull it, set deployment.image to it, and deployment.imagePullSecrets where the registry asks for a password.",
  ErrImageNeverPull: "Load the image on the node, or set deployment.imagePullPolicy.",
  InvalidImageName: "Correct deployment.image.",
  CreateContainerConfigError:
    "Correct what the message names: a Secret or a key of it that isn't there (deployment.existingSecret).",
  CreateContainerError: "Correct what the message names, then run pulumi up again.",
  RunContainerError: "Correct what the message names; the image must be one of pulumi-sluice.",
};

/** Starts after which waiting any longer is pointless. */
const restartsMax = 3;

/** Pure: what a pod's status says of its process. */
export function judgePod(pod: LiveObject): Verdict {
  const { phase, conditions = [], containerStatuses = [] } = (pod.status ?? {}) as PodStatus;
  if (phase === "Succeeded") return { kind: "done" };
  const [container] = containerStatuses;
  const ended = container?.state?.terminated ?? container?.lastState?.terminated;
  if (ended !== undefined && ended.exitCode !== 0) {
    const failure = judgeExit(ended, container.restartCount, phase === "Failed", memoryLimitOf(pod));
    if (failure !== null) return failure;
  }
  const waiting = container?.state?.waiting;
  const remedy = stuck[waiting?.reason ?? ""];
  if (waiting !== undefined && remedy !== undefined) {
    return { kind: "failed", message: `can't start: ${waiting.reason}: ${waiting.message ?? ""}`, remedy };
  }
  if (phase === "Failed") {
    const { reason = "Failed", message = "" } = pod.status as { reason?: string; message?: string };
    return { kind: "failed", message: `ended: ${reason}: ${message}`, remedy: "Correct what the message names." };
  }
  if (container?.ready === true && pod.metadata.deletionTimestamp === undefined) return { kind: "ready" };
  if (container?.state?.running !== undefined) {
    return { kind: "waiting", reason: "it runs, and isn't ready", isUp: true };
  }
  const unscheduled = conditions.find(({ type, status }) => type === "PodScheduled" && status === "False");
  if (unscheduled !== undefined) {
    const { reason, message } = unscheduled;
    return { kind: "waiting", reason: `no node takes its pod: ${reason}: ${message}`, isUp: false };
  }
  const why = waiting === undefined ? "its pod isn't started yet" : `${waiting.reason}: ${waiting.message ?? ""}`;
  return { kind: "waiting", reason: why, isUp: false };
}

function memoryLimitOf({ spec }: LiveObject): string | undefined {
  const { containers = [] } = (spec ?? {}) as { containers?: { resources?: { limits?: { memory?: string } } }[] };
  return containers[0]?.resources?.limits?.memory;
}

function judgeExit(
  { exitCode, reason, message = "" }: { exitCode: number; reason?: string; message?: string },
  restarts: number,
  isLast: boolean,
  memoryLimit: string | undefined,
): Verdict | null {
  const lines = message.trim().split("\n").slice(-5).join("\n    ");
  const tail = lines === "" ? "" : `\n  last log lines:\n    ${lines.slice(0, 2_500)}`;
  const isOutOfMemory = reason === "OOMKilled";
  if (isOutOfMemory || exitCode === 137) {
    const exit = exitText(137, isOutOfMemory, memoryLimit);
    const remedy = "Raise deployment.resources.limits.memory: an applier needs more than its memoryBytesMax.";
    return { kind: "failed", message: `ended: ${exit}${tail}`, remedy };
  }
  const remedy =
    "Correct what its log says (kubectl logs, or the lines above; exec format error: the image is for another architecture than the node, see npm run image -- --arch, or deployment.nodeSelector), then run pulumi up again.";
  if (exitCode === configExitCode) return { kind: "failed", message: `can't run with its settings${tail}`, remedy };
  if (!isLast && restarts < restartsMax) return null;
  return { kind: "failed", message: `crashes at every start: exit ${exitCode}${tail}`, remedy };
}
