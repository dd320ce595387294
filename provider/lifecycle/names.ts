import { randomBytes, randomUUID } from "node:crypto";
import { z } from "zod";

/** A UUID with underscores, as in the reference connector's names. */
export function newPipelineId(): string {
  return randomUUID().replaceAll("-", "_");
}

/** One that `newPipelineId` may have made. */
export function isRandomPipelineId(id: string): boolean {
  return /^[0-9a-f]{8}_[0-9a-f]{4}_4[0-9a-f]{3}_[89ab][0-9a-f]{3}_[0-9a-f]{12}$/.test(id);
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

/** Of a slot that is made beside another one of its publication. */
export function successorSlotName(databaseOid: number, pipelineId: string, incarnation: string): string {
  return `${slotNameOf(databaseOid, pipelineId)}_${incarnation.slice(0, 6)}`;
}

/** Whether a slot's name was generated for this pipeline id. */
export function isGeneratedSlotName(name: string, pipelineId: string): boolean {
  const match = /^dbx_\d+_(.*)$/.exec(name);
  return match !== null && (match[1] === pipelineId || match[1].replace(/_[0-9a-f]{6}$/, "") === pipelineId);
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
