import { isIP } from "node:net";
import type { ProcessSpec } from "./deployment";
import { httpPortOf } from "./kubernetes-source";

function workspacesOf(config: ProcessSpec["config"]): { host?: string }[] {
  const { staging } = config;
  const staged = staging?.kind === "volume" ? [staging.workspace] : [];
  const written = config.role === "applier" && config.destination.kind !== "local" ? [config.destination] : [];
  return [...staged, ...written];
}

/** Of a workspace, or any other address of HTTPS. */
const portOf = (url: string) => Number(new URL(url).port) || 443;

/** Pure. Names are resolved wherever the cluster's DNS is; a host that is a name may have any address. */
export function networkPolicy({ config }: ProcessSpec, selector: Record<string, string>, isServed: boolean) {
  const tcp = (port: number) => ({ protocol: "TCP", port });
  const dns = { ports: [{ protocol: "UDP", port: 53 }, tcp(53)] };
  const servers = config.role === "gateway" ? [config.source, ...(config.source.failoverHosts ?? [])] : [];
  const egress = servers.map(({ host, port = 5432 }) => ({
    ...(isIP(host) === 0 ? {} : { to: [{ ipBlock: { cidr: `${host}/${isIP(host) === 6 ? 128 : 32}` } }] }),
    ports: [tcp(port)],
  }));
  // A profile's host is known where it is read; all workspaces are at one port.
  const workspaces = workspacesOf(config).map(({ host = "https://any" }) => portOf(host));
  egress.push(...[...new Set(workspaces)].map((port) => ({ ports: [tcp(port)] })));
  return {
    podSelector: { matchLabels: selector },
    policyTypes: ["Ingress", "Egress"],
    ingress: isServed ? [{ ports: [tcp(httpPortOf(config))] }] : [],
    egress: egress.length === 0 ? [] : [dns, ...egress],
  };
}
