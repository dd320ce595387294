import { z } from "zod";

/** Actions of the Delta protocol ("Actions"), as far as they are read and written here; other fields are left out. */
const stringMap = z.record(z.string(), z.string().nullable());

export const deletionVectorSchema = z.object({
  /** u: file named by a uuid in the table's folder; i: inline; p: absolute path */
  storageType: z.enum(["u", "i", "p"]),
  pathOrInlineDv: z.string(),
  /** bytes from the start of the file to the vector's size; absent inline */
  offset: z.int().nullish(),
  sizeInBytes: z.int(),
  /** rows marked as deleted */
  cardinality: z.int(),
});
export type DeletionVectorDescriptor = z.infer<typeof deletionVectorSchema>;

export const addSchema = z.object({
  /** relative to the table's folder, URL-encoded */
  path: z.string(),
  partitionValues: stringMap,
  size: z.int(),
  modificationTime: z.int(),
  dataChange: z.boolean(),
  /** JSON text: `{numRecords, tightBounds, …}`; numRecords counts deleted rows too */
  stats: z.string().nullish(),
  tags: stringMap.nullish(),
  deletionVector: deletionVectorSchema.nullish(),
  /** the implementation that has clustered the file */
  clusteringProvider: z.string().nullish(),
});
export type AddFile = z.infer<typeof addSchema>;

export const removeSchema = z.object({
  path: z.string(),
  deletionTimestamp: z.int().nullish(),
  dataChange: z.boolean(),
  extendedFileMetadata: z.boolean().nullish(),
  partitionValues: stringMap.nullish(),
  size: z.int().nullish(),
  deletionVector: deletionVectorSchema.nullish(),
});
export type RemoveFile = z.infer<typeof removeSchema>;

export const metaDataSchema = z.object({
  id: z.string(),
  name: z.string().nullish(),
  description: z.string().nullish(),
  format: z.object({ provider: z.string(), options: stringMap.nullish() }),
  schemaString: z.string(),
  partitionColumns: z.array(z.string()),
  configuration: z.record(z.string(), z.string()),
  createdTime: z.int().nullish(),
});
export type MetaData = z.infer<typeof metaDataSchema>;

export const protocolSchema = z.object({
  minReaderVersion: z.int(),
  minWriterVersion: z.int(),
  readerFeatures: z.array(z.string()).nullish(),
  writerFeatures: z.array(z.string()).nullish(),
});
export type Protocol = z.infer<typeof protocolSchema>;

export const domainMetadataSchema = z.object({
  domain: z.string(),
  /** of the domain's own form */
  configuration: z.string(),
  /** true: the domain is gone */
  removed: z.boolean(),
});
export type DomainMetadata = z.infer<typeof domainMetadataSchema>;

export const txnSchema = z.object({ appId: z.string(), version: z.int(), lastUpdated: z.int().nullish() });
export type Txn = z.infer<typeof txnSchema>;

/** What our commits say about themselves, beside the usual fields. */
export const commitInfoSchema = z.looseObject({
  sluice: z
    .object({
      sequence: z.int(),
      /** in the table's life so far */
      upserted: z.int(),
      deleted: z.int(),
      dropped: z.int().optional(),
      durationMs: z.number(),
    })
    .optional(),
});
export type CommitInfo = z.infer<typeof commitInfoSchema>;

/** A file of the change data feed (protocol, "Add CDC File"). */
export const cdcSchema = z.object({
  path: z.string(),
  partitionValues: stringMap,
  size: z.int(),
  dataChange: z.literal(false),
});

/** One line of a commit: exactly one of these is there; unknown actions parse to {}. */
export const actionSchema = z.object({
  commitInfo: commitInfoSchema.optional(),
  protocol: protocolSchema.optional(),
  metaData: metaDataSchema.optional(),
  txn: txnSchema.optional(),
  domainMetadata: domainMetadataSchema.optional(),
  remove: removeSchema.optional(),
  add: addSchema.optional(),
  cdc: cdcSchema.optional(),
});
export type Action = z.infer<typeof actionSchema>;

/** Rows in a file, deleted ones included; null when its writer didn't say. */
export function recordCount(add: AddFile): number | null {
  if (add.stats === null || add.stats === undefined) return null;
  const { numRecords } = JSON.parse(add.stats) as { numRecords?: number };
  return numRecords ?? null;
}
