import { stringify } from "yaml";
import type { ClusterObject } from "./kubernetes-object";

/** Pure: documents for `kubectl apply -f`, in this order. */
export function manifestText(objects: readonly ClusterObject[]): string {
  const documents = objects.map((object) => stringify(object, { lineWidth: 0, aliasDuplicateObjects: false }));
  return documents.map((text) => `---\n${text}`).join("");
}
