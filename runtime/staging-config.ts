import { z } from "zod";
import { workspaceSchema } from "./databricks-config";

export const volumeStagingShape = {
  /** local copies of staged files that are kept beside those in use; default 2 GiB */
  cacheBytesMax: z
    .int()
    .min(0)
    .default(2 * 1024 ** 3),
  /** files that are sent at a time; default 4 */
  uploadsMax: z.int().min(1).max(8).default(4),
};

/** What kind of place `stagingPath` is in; default a folder of this machine. */
export const stagingSchema = z
  .discriminatedUnion("kind", [
    z.strictObject({ kind: z.literal("folder") }),
    /** a folder of a Unity Catalog volume: `stagingPath` is `/Volumes/<catalog>/<schema>/<volume>/…` */
    z.strictObject({
      kind: z.literal("volume"),
      workspace: workspaceSchema,
      /** a local folder for files on their way, of this process alone; absolute */
      localPath: z.string().min(1),
      ...volumeStagingShape,
    }),
  ])
  .prefault({ kind: "folder" });
export type StagingConfig = z.infer<typeof stagingSchema>;
