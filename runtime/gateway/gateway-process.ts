import type { GatewayConfig } from "../config";
import { startStatus } from "../operate/status-server";
import { formatLsn, lsnZero } from "../postgres/lsn";
import { toSourceError } from "../postgres/source-error";
import type { GatewayStatus, ProcessState } from "../status";
import { version } from "../version";
import { Gateway, type GatewayProgress } from "./gateway";
import { gatewayMetrics } from "./gateway-metrics";

const emptyProgress: GatewayProgress = {
  slot: null,
  lag: { bytes: null, ms: null },
  standby: null,
  holdingTransactions: [],
  alerts: [],
  heartbeats: 0,
  walSenderPid: null,
  receivedLsn: formatLsn(lsnZero),
  stagedLsn: formatLsn(lsnZero),
  acknowledgedLsn: formatLsn(lsnZero),
  stagedSequence: 0,
  transactions: 0,
  changes: 0,
  reconnects: 0,
  tables: [],
};

/**
 * Runs until `signal` aborts (then flushes, stages, acknowledges and returns) or something fails for good.
 * @throws SluiceError when it can't go on; transient troubles of the source are waited out.
 */
export async function runGateway(config: GatewayConfig, signal: AbortSignal): Promise<void> {
  let state: ProcessState = { kind: "starting" };
  let trouble: string | null = null;
  const shownState = (): ProcessState =>
    trouble !== null && (state.kind === "starting" || state.kind === "running")
      ? { kind: "waiting", reason: trouble }
      : state;
  let gateway: Gateway | null = null;
  const startedAt = new Date().toISOString();
  const document = (httpPort: number): GatewayStatus => ({
    role: "gateway",
    id: config.id,
    version,
    pid: process.pid,
    startedAt,
    updatedAt: new Date().toISOString(),
    httpPort,
    state: shownState(),
    ...(gateway?.progress() ?? emptyProgress),
  });
  const status = await startStatus({
    path: config.statusPath,
    httpPort: config.http.port,
    httpHost: config.http.host,
    document,
    metrics: () => gatewayMetrics(document(0)),
    healthy: () => ["running", "waiting"].includes(shownState().kind),
  });
  const publish = () => status.publish().catch(() => {});
  const setState = (next: ProcessState) => {
    state = next;
    publish();
  };
  const setTrouble = (reason: string | null) => {
    trouble = reason;
    publish();
  };
  try {
    gateway = await Gateway.open(config, signal, { setState, setTrouble });
    await gateway.run();
    setState({ kind: "stopped" });
  } catch (thrown) {
    const error = toSourceError(thrown, "gateway", config.source);
    state = { kind: "failed", errorKind: error.kind, message: error.message, remedy: error.remedy };
    throw error;
  } finally {
    await status.close();
  }
}
