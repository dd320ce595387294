import { z } from "zod";
import { workspaceSchema } from "../../runtime/databricks-config";

/** Settings of the target of Databricks Apps. */
export const databricksOptionsSchema = z.strictObject({
  kind: z.literal("databricks"),
  /** who makes the apps; OAuth of a service principal, as an app answers no other token */
  workspace: workspaceSchema.prefault({}),
  /** of each app; default: the workspace's own, MEDIUM (2 processors, 6 GB) */
  computeSize: z.enum(["MEDIUM", "LARGE"]).optional(),
  /** of the workspace, for the apps' sources */
  folder: z
    .string()
    .regex(/^\/Workspace\/(Shared|Users)\/.+[^/]$/, {
      error: "a folder of the workspace begins with /Workspace/Shared/ or /Workspace/Users/",
    })
    .default("/Workspace/Shared/sluice"),
  /** a secret scope that is there, with a key for each secret: NAME of `{ env: "NAME" }`; default: one of ours for each app */
  secretScope: z.string().min(1).max(128).optional(),
});
export type DatabricksOptions = z.infer<typeof databricksOptionsSchema>;
