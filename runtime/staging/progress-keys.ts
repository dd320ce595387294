import type { reservedIds } from "../config";

const gatewayKey = (name: (typeof reservedIds)[number]) => `progress/${name}.json`;

/** Documents in `progress/` that are the gateway's; every other one is an applier's, by its id. */
export const gatewayProgressKeys = { idle: gatewayKey("gateway"), source: gatewayKey("source") };

export function applierProgressKey(id: string): string {
  return `progress/${encodeURIComponent(id)}.json`;
}

/** The applier's id; null of the gateway's documents, and of what is no document. */
export function applierOf(key: string): string | null {
  if (!key.endsWith(".json") || Object.values(gatewayProgressKeys).includes(key)) return null;
  return decodeURIComponent(key.slice("progress/".length, -".json".length));
}
