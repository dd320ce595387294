import type { WarehouseDestinationInput } from "../../runtime/config";
import { type WorkspaceSettings, workspaceProblem, workspaceShape } from "../../runtime/databricks-config";
import { podsWithoutWarehouse } from "../deploy/kubernetes-source";
import { pick } from "./connection";
import type { CheckFailure, Properties } from "./lifecycle";
import { completeWorkspace, isInVolume, withPaths } from "./staging-input";
import { containsUnknown, isUnknown } from "./unknown-value";

type Destination = { kind: "local"; path: string } | WarehouseDestinationInput;

/** Where tables are, for people. */
export function locationOf(destination: Destination): string {
  return destination.kind === "local" ? destination.path : `${destination.catalog}.${destination.schema}`;
}

const workspaceKeys = Object.keys(workspaceShape);
const warehouseOf = (inputs: Properties): Properties | null => {
  const destination = inputs.destination as Properties | undefined;
  return destination?.kind === "databricks" ? destination : null;
};

/** Completes a warehouse's workspace by the environment, which no process of ours has. */
export function completeDestination(olds: Properties, inputs: Properties): CheckFailure[] {
  const destination = warehouseOf(inputs);
  if (destination === null || workspaceProblem(destination) !== null) return [];
  const before = warehouseOf(olds);
  const completed = completeWorkspace(
    before === null ? undefined : (pick(before, workspaceKeys) as WorkspaceSettings),
    pick(destination, workspaceKeys) as WorkspaceSettings,
  );
  if (completed.problem !== null) return [{ property: "destination", reason: completed.problem }];
  inputs.destination = { ...destination, ...completed.workspace };
  return [];
}

/** Pure: what tells one place of tables from another; the rest of a destination is how they are written. */
export function placeOfTables(destination: unknown): unknown {
  const { kind, host, profile, catalog, schema } = (destination ?? {}) as Properties;
  return kind === "databricks" ? { host: host ?? profile, catalog, schema } : destination;
}

/** The destination of a process's configuration: paths hold wherever it runs. */
export const destinationConfig = (destination: Destination): Destination =>
  destination.kind === "local"
    ? destination
    : { ...destination, ...withPaths(pick(destination, workspaceKeys) as WorkspaceSettings) };

/** Pure: variables of the environment that have the destination's secrets. */
export function destinationVariables(destination: Destination): string[] {
  if (destination.kind === "local") return [];
  const { token, clientSecret } = destination;
  return [token, clientSecret].flatMap((secret) => (secret !== undefined && "env" in secret ? [secret.env] : []));
}

/** Pure: why a warehouse can't have these tables, which would show only when they are written. */
export function warehouseObstacles(inputs: Properties): CheckFailure[] {
  const destination = inputs.destination as Record<string, unknown> | undefined;
  if (destination?.kind !== "databricks") return [];
  const failures: CheckFailure[] = [];
  const refuse = (property: string, reason: string, remedy: string) =>
    failures.push({ property, reason: `${reason}\n  remedy: ${remedy}` });
  const { deployment, staging, stagingPath } = inputs;
  const isInPod = (deployment as { kind?: unknown } | undefined)?.kind === "kubernetes";
  if (!containsUnknown([deployment, staging]) && isInPod && !isInVolume(inputs)) {
    refuse("deployment", podsWithoutWarehouse.reason, podsWithoutWarehouse.remedy);
  }
  const path = destination.stagedPath ?? stagingPath;
  if (destination.engine !== "spark" && typeof path === "string" && !isUnknown(path) && !path.startsWith("/Volumes/")) {
    refuse(
      "destination.stagedPath",
      `a warehouse can't read ${path}, a folder of this machine`,
      "Stage into a Unity Catalog volume, and give its path: /Volumes/<catalog>/<schema>/<volume>/….",
    );
  }
  return failures;
}
