import { dirname } from "node:path";
import { z } from "zod";
import { processShape } from "./process-config";
import { scheduleProblem } from "./schedule";
import { stagingSchema } from "./staging-config";
import { onRemoveSchema, tableOptionsListSchema } from "./table-options";
import { warehouseDestinationSchema } from "./warehouse-config";

export const maintenanceSchema = z
  .strictObject({
    /** small files, and files with many deleted rows, are written anew; default true */
    compaction: z.boolean().default(true),
    /** files are removed that no version within the retention has; default true */
    vacuum: z.boolean().default(true),
    /** how long removed files stay, where the table has no `delta.deletedFileRetentionDuration`; default 7 days */
    fileRetentionMs: z
      .int()
      .min(0)
      .default(7 * 86_400_000),
    /** staged commits stay so long at least, and until every applier has them; default 7 days */
    stagingRetentionMs: z
      .int()
      .min(0)
      .default(7 * 86_400_000),
    /** part of the applier's time that it may take; default 0.3 */
    timeShareMax: z.number().gt(0).max(1).default(0.3),
    /**
     * files read by one compaction, in bytes; default 64 MiB. Less where it would take longer than the trigger's interval:
     * no batch that is due waits longer than that.
     */
    bytesMax: z
      .int()
      .min(1024 * 1024)
      .default(64 * 1024 * 1024),
    /** so many small files of about one size become one; default 8 */
    filesMin: z.int().min(2).default(8),
    /** a file is written anew when this part of its rows is deleted; default 0.2 */
    deletedShareMin: z.number().gt(0).max(1).default(0.2),
    /**
     * once a table hasn't changed for so long, every file with a deleted row is written anew; default: it isn't. For
     * readers to whom a deletion vector is dear (delta-rs), of tables that rest between changes.
     */
    purgeAfterIdleMs: z.int().min(0).optional(),
    /** rows of a compacted file are in the order of the table's key; default false */
    clusterByKey: z.boolean().default(false),
  })
  .prefault({});
export type MaintenanceConfig = z.infer<typeof maintenanceSchema>;

/** So many former staging logs of a pipeline are remembered. */
export const formerLogsMax = 100;

export const applierConfigSchema = z.strictObject({
  ...processShape,
  role: z.literal("applier"),
  stagingPath: z.string().min(1),
  staging: stagingSchema,
  destination: z.discriminatedUnion("kind", [
    /** Delta tables at `<path>/<schema>/<table>` */
    z.strictObject({ kind: z.literal("local"), path: z.string().min(1) }),
    /** Delta tables of a Databricks workspace, written by its SQL warehouse */
    warehouseDestinationSchema,
  ]),
  trigger: z
    .discriminatedUnion("kind", [
      /** applies for ever: when `intervalMs` (default 500) have passed, or `rows` changes are staged, where given */
      z.strictObject({
        kind: z.literal("continuous"),
        intervalMs: z.int().min(10).default(500),
        rows: z.int().min(1).optional(),
      }),
      /** at the times of `cron` (see Schedule) in the IANA `timeZone` (default UTC) applies what is staged then */
      z
        .strictObject({ kind: z.literal("schedule"), cron: z.string().min(1), timeZone: z.string().default("UTC") })
        .superRefine((schedule, context) => {
          const problem = scheduleProblem(schedule);
          if (problem !== null) context.addIssue({ code: "custom", path: [problem.of], message: problem.message });
        }),
      /** applies what is staged at start and exits 0 */
      z.strictObject({ kind: z.literal("once") }),
    ])
    .prefault({ kind: "continuous" }),
  maintenance: maintenanceSchema,
  /** runs of each table that the history keeps; default 50 */
  runsKeptMax: z.int().min(1).max(10_000).default(50),
  /** what becomes of a table's rows when it leaves the publication; a table's own `onRemove` goes first; default keep */
  onRemove: onRemoveSchema.default("keep"),
  /** tables that aren't as the defaults have them; default [] */
  tables: tableOptionsListSchema,
  /** staging logs that this pipeline had before this one: `sluice drop-tables` drops what was made of them too */
  formerLogs: z.array(z.string().min(1)).max(formerLogsMax).optional(),
  /** DuckDB's memory limit; default 1 GiB */
  memoryBytesMax: z
    .int()
    .min(64 * 1024 * 1024)
    .default(1024 * 1024 * 1024),
});
export type ApplierConfig = z.infer<typeof applierConfigSchema>;

/** A local folder of the applier's own: beside its tables, or where they aren't here beside its status. */
export function workFolder({
  destination,
  statusPath,
}: {
  destination: { kind: "local"; path: string } | { kind: "databricks" };
  statusPath: string;
}): string {
  return destination.kind === "local" ? destination.path : dirname(statusPath);
}
