import { hostname } from "node:os";
import { z } from "zod";
import { identifyProcess, isAlive, processIdentitySchema } from "../../runtime/process-identity";

/**
 * A process elsewhere can't see the provider that makes it: it doesn't end by itself when that is gone, but is swept, from
 * this very machine, by a text that it was marked with.
 */
export const hostTether = (): string => JSON.stringify({ host: hostname(), ...identifyProcess(process.pid) });

const tetherSchema = z.object({ host: z.string(), ...processIdentitySchema.shape });

/** Whether a provider of this machine is gone; false for those of others, which can't be known. */
export function isAbandoned(text: string): boolean {
  try {
    const tether = tetherSchema.parse(JSON.parse(text));
    return tether.host === hostname() && !isAlive(tether);
  } catch {
    return false;
  }
}
