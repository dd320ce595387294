import { setTimeout as pause } from "node:timers/promises";
import { type ApiServer, Refused, type Thing } from "./kubernetes-api";

/** What a kubelet makes of a pod: its status; undefined: it leaves it as it is. */
export type Play = (pod: Thing) => object | undefined;

const stateOf = (pod: Thing, more: object) => {
  const [{ name, image }] = pod.spec.containers as [{ name: string; image: string }];
  return { containerStatuses: [{ restartCount: 0, ready: false, imageID: "", name, image, ...more }] };
};

/** Its process runs, and is ready; a Job's ends well at once. */
export const healthy: Play = (pod) => {
  if (pod.spec.restartPolicy === "Never") return ended(0)(pod);
  const at = new Date().toISOString();
  return {
    phase: "Running",
    conditions: [{ type: "Ready", status: "True", lastTransitionTime: at }],
    ...stateOf(pod, { ready: true, imageID: "registry/sluice@sha256:1", state: { running: { startedAt: at } } }),
  };
};

export const ended =
  (exitCode: number, message = ""): Play =>
  (pod) => ({
    phase: exitCode === 0 ? "Succeeded" : "Failed",
    ...stateOf(pod, { state: { terminated: { exitCode, message } } }),
  });

export const waiting =
  (reason: string, message: string): Play =>
  (pod) => ({ phase: "Pending", ...stateOf(pod, { state: { waiting: { reason, message } } }) });

const lookMs = 100;
const room = { cpu: "8", memory: "16Gi", pods: "100", "ephemeral-storage": "100Gi" };

/**
 * Nodes without machines: their kubelet is played. It tells of each pod that the scheduler gave them what `play` says, runs
 * nothing, and lets a pod go that is to go. What the server refuses it is printed, and it goes on with the next pod.
 */
export class PlayedNodes {
  play: Play = healthy;
  private isEnding = false;
  private work = Promise.resolve();
  /** by pod, what was told last, without its times */
  private readonly told = new Map<string, string>();

  private constructor(private readonly api: ApiServer) {}

  static async start(api: ApiServer, names: string[]): Promise<PlayedNodes> {
    for (const name of names) {
      const labels = { "kubernetes.io/hostname": name };
      await api.put("/api/v1/nodes", { apiVersion: "v1", kind: "Node", metadata: { name, labels } });
      const status = { capacity: room, allocatable: room, conditions: [{ type: "Ready", status: "True" }] };
      await api.merge(`/api/v1/nodes/${name}/status`, { status }, "kubelet");
      // The server taints a new node until its controller finds it ready.
      await api.merge(`/api/v1/nodes/${name}`, { spec: { taints: null } }, "kubelet");
    }
    const nodes = new PlayedNodes(api);
    nodes.work = nodes.run();
    return nodes;
  }

  private async run(): Promise<void> {
    while (!this.isEnding) {
      try {
        const { items } = await this.api.ask("GET", "/api/v1/pods");
        for (const pod of items) await this.tend(pod).catch((error) => this.tell(error));
      } catch (error) {
        this.tell(error);
      }
      await pause(lookMs);
    }
  }

  private async tend(pod: Thing): Promise<void> {
    const { name, namespace, uid, deletionTimestamp } = pod.metadata;
    const path = `/api/v1/namespaces/${namespace}/pods/${name}`;
    if (pod.spec.nodeName === undefined) return;
    if (deletionTimestamp !== undefined) {
      // Known by its uid: its successor may have the name already.
      await this.api.ask("DELETE", path, { gracePeriodSeconds: 0, preconditions: { uid } });
      return;
    }
    if (pod.status?.phase === "Succeeded" || pod.status?.phase === "Failed") return;
    const status = this.play(pod);
    const text = JSON.stringify(status, (key, value) => (/Time$|At$/.test(key) ? undefined : value));
    if (status === undefined || this.told.get(uid) === text) return;
    await this.api.merge(`${path}/status`, { metadata: { uid }, status }, "kubelet");
    this.told.set(uid, text);
  }

  private tell(error: unknown): void {
    // It is gone, or another meanwhile.
    if (error instanceof Refused && (error.code === 404 || error.code === 409)) return;
    if (!this.isEnding) console.error("the played kubelet:", error instanceof Error ? error.message : error);
  }

  async stop(): Promise<void> {
    this.isEnding = true;
    await this.work;
  }
}
