import { randomBytes, randomUUID } from "node:crypto";
import { z } from "zod";

/** A UUID with underscores, as in the reference connector's names. */
export function newPipelineId(): string {
  return randomUUID().replaceAll("-", "_");
}

/** Tells a slot from the one that had its name before. */
export function newIncarnation(): string {
  return randomBytes(4).toString("hex");
}

export const pipelineIdSchema = z.string().regex(/^[a-z0-9_]{1,40}$/, {
  error: "a pipeline id has 1 to 40 of the characters a-z, 0-9 and _",
});

export function slotNameOf(databaseOid: number, pipelineId: string): string {
  return `dbx_${databaseOid}_${pipelineId}`;
}

export function publicationNameOf(databaseOid: number, pipelineId: string): string {
  return `dbx_pub_${databaseOid}_${pipelineId}`;
}

/** PostgreSQL cuts a longer identifier silently: NAMEDATALEN - 1 bytes. */
export const identifierSchema = z
  .string()
  .min(1)
  .refine((name) => Buffer.byteLength(name) <= 63, { error: "a name has at most 63 bytes" })
  .refine((name) => !name.includes("\0"), { error: "a name has no zero byte" });

/** PostgreSQL documentation, section 26.2.6.1: lower-case letters, digits, underscores. */
export const slotNameSchema = z.string().regex(/^[a-z0-9_]{1,63}$/, {
  error: "a slot's name has 1 to 63 of the characters a-z, 0-9 and _",
});
