import { SluiceError } from "../../runtime/errors";
import type { ProcessSpec } from "./deployment";
import { renderConfiguration } from "./deployment";
import { type Cluster, type LiveObject, type ObjectId, resourceOf } from "./kubernetes-cluster";
import { annotations, managedBy } from "./kubernetes-names";
import type { ClusterObject } from "./kubernetes-object";
import type { ProcessObjects } from "./kubernetes-objects";

/** Keys of a process's ConfigMap beside its configuration; no pod sees them. */
const recordKeys = { declared: "declared.json", rendered: "rendered.json", objects: "objects.json" } as const;

/** What was applied last, by which drift is told and a failed update goes back. */
export interface ApplyRecord {
  /** the configuration as the provider wants it: without what is different in a pod */
  declared: string;
  /** the same as the pod was given it */
  rendered: string;
  /** all but the ConfigMap itself and the Secret */
  objects: ClusterObject[];
}

/** Pure: the objects with the record in their ConfigMap. */
export function withRecord(spec: ProcessSpec, { objects, configuration }: ProcessObjects): ClusterObject[] {
  const others = objects.filter(({ kind }) => kind !== "ConfigMap");
  return objects.map((object) => {
    if (object.kind !== "ConfigMap") return object;
    return recorded(object, {
      declared: renderConfiguration(spec.config),
      rendered: configuration.text,
      objects: others,
    });
  });
}

export function recorded(object: ClusterObject, { declared, rendered, objects }: ApplyRecord): ClusterObject {
  const { declared: first, rendered: second, objects: third } = recordKeys;
  const data = { [first]: declared, [second]: rendered, [third]: JSON.stringify(objects) };
  return { ...object, data: { "config.json": rendered, ...data } };
}

/** Null where it was made by hand, or by `sluice manifests`. */
export function readRecord(configMap: LiveObject | null): ApplyRecord | null {
  const data = (configMap?.data ?? {}) as Record<string, string>;
  try {
    const objects = JSON.parse(data[recordKeys.objects]) as ClusterObject[];
    return { declared: data[recordKeys.declared], rendered: data[recordKeys.rendered], objects };
  } catch {
    return null;
  }
}

/** What a process's folder, or a claim's path, tells of its object. */
export const isOurs = ({ metadata }: LiveObject, directory: string) =>
  metadata.annotations?.[annotations.directory] === directory &&
  metadata.labels?.["app.kubernetes.io/managed-by"] === managedBy["app.kubernetes.io/managed-by"];

export const idOf = ({ apiVersion, kind, metadata }: ClusterObject): ObjectId => ({
  apiVersion,
  kind,
  name: metadata.name,
});

/** @throws SluiceError `name-taken` */
export function requireOurs(
  found: LiveObject | null,
  { kind, name }: ObjectId,
  directory: string,
  cluster: Cluster,
): void {
  if (found === null || isOurs(found, directory)) return;
  throw new SluiceError(
    "name-taken",
    `the ${kind} ${name} exists in ${cluster.namespace} and isn't this deployment's`,
    {
      remedy: `Choose another deploymentId; or, if nobody needs it, run kubectl -n ${cluster.namespace} delete ${resourceOf(kind)} ${name}.`,
    },
  );
}
