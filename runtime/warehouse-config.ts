import { z } from "zod";
import { workspaceProblem, workspaceShape } from "./databricks-config";

export const warehouseDestinationSchema = z
  .strictObject({
    kind: z.literal("databricks"),
    mode: z.literal("warehouse"),
    /** the workspace, and who we are there */
    ...workspaceShape,
    /** the SQL warehouse, by its id; or by `httpPath` */
    warehouseId: z.string().min(1).optional(),
    /** such as `/sql/1.0/warehouses/<id>` */
    httpPath: z.string().startsWith("/").optional(),
    catalog: z.string().min(1),
    /** has all tables but those whose options name another one, and a table of ours (`_sluice_writers`) */
    schema: z.string().min(1),
    /** staging's folder as the warehouse sees it, a folder of a volume (`/Volumes/…`); default: stagingPath */
    stagedPath: z.string().startsWith("/").optional(),
    /** tables that are written at a time; default 4 */
    parallelMax: z.int().min(1).max(64).default(4),
    /**
     * staged changes of one statement, in bytes of their files; default 256 MiB. More for a larger warehouse. A statement
     * that takes too long halves it for its table, each one that doesn't doubles it again.
     */
    batchBytesMax: z
      .int()
      .min(64 * 1024)
      .default(256 * 1024 * 1024),
    /** a statement that takes longer is cancelled, and its batch tried again; default 1,800,000 */
    statementTimeoutMs: z.int().min(1_000).default(1_800_000),
    /** how long a warehouse that is starting is waited for; default 900,000 */
    startTimeoutMs: z.int().min(0).default(900_000),
    /** `spark`: no Databricks, but Spark with Delta Lake behind the same protocol, as in tests; default `databricks` */
    engine: z.enum(["databricks", "spark"]).default("databricks"),
  })
  .superRefine((destination, context) => {
    const problem = warehouseProblem(destination);
    if (problem !== null) context.addIssue({ code: "custom", path: [problem.property], message: problem.message });
  });
export type WarehouseDestination = z.infer<typeof warehouseDestinationSchema>;
export type WarehouseDestinationInput = z.input<typeof warehouseDestinationSchema>;

/** Pure: why settings of a warehouse can't go together; null when they can. */
export function warehouseProblem(settings: Record<string, unknown>): { property: string; message: string } | null {
  const [hasId, hasPath] = ["warehouseId", "httpPath"].map((key) => settings[key] !== undefined);
  if (hasId === hasPath) return { property: "warehouseId", message: "give warehouseId or httpPath, and not both" };
  return workspaceProblem(settings);
}
