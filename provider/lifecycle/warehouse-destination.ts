import type { WarehouseDestinationInput } from "../../runtime/config";
import { podsWithoutWarehouse } from "../deploy/kubernetes-source";
import type { CheckFailure, Properties } from "./lifecycle";
import { isInVolume } from "./staging-input";
import { containsUnknown, isUnknown } from "./unknown-value";

type Destination = { kind: "local"; path: string } | WarehouseDestinationInput;

/** Where tables are, for people. */
export function locationOf(destination: Destination): string {
  return destination.kind === "local" ? destination.path : `${destination.catalog}.${destination.schema}`;
}

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
