import { readFileSync } from "node:fs";
import { z } from "zod";
import { describeError, SluiceError } from "../../runtime/errors";

/** A slot or publication that a stack has made. */
export interface Claim {
  kind: "slot" | "publication";
  name: string;
  database: string;
  urn: string;
}

const resource = z.looseObject({
  urn: z.string(),
  type: z.string(),
  /** of a resource that is being deleted too: it isn't gone yet */
  outputs: z.record(z.string(), z.unknown()).optional(),
});
const state = z.looseObject({ deployment: z.looseObject({ resources: z.array(resource).default([]) }) });

/** What stacks own by their states, as `pulumi stack export` writes them. Secrets in them stay encrypted. */
export function readClaims(files: readonly string[]): Claim[] {
  return files.flatMap((file) => {
    const parsed = state.safeParse(parse(file));
    if (parsed.success) return parsed.data.deployment.resources.flatMap(claimOf);
    throw new SluiceError("config", `sluice slots: ${file} is no stack's state`, {
      remedy: "Write it by pulumi stack export --file FILE.",
    });
  });
}

function claimOf({ urn, type, outputs = {} }: z.infer<typeof resource>): Claim[] {
  const source = outputs.source;
  const database = typeof source === "object" && source !== null ? (source as { database?: unknown }).database : null;
  const claim = (kind: Claim["kind"], name: unknown): Claim[] =>
    typeof name === "string" && typeof database === "string" ? [{ kind, name, database, urn }] : [];
  if (type.endsWith(":ReplicationSlot")) return claim("slot", outputs.slotName);
  return type.endsWith(":Publication") ? claim("publication", outputs.publicationName) : [];
}

function parse(file: string): unknown {
  try {
    return JSON.parse(readFileSync(file, "utf8"));
  } catch (cause) {
    throw new SluiceError("config", `sluice slots: ${file} can't be read: ${describeError(cause)}`, {
      remedy: "Write it by pulumi stack export --file FILE.",
      cause,
    });
  }
}
