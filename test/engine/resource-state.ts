import type { PropertyMap } from "./property-values";
import { parseProviderReference } from "./urn";

/** One resource of a checkpoint, named as the CLI's deployment format (version 3) names things. */
export interface ResourceState {
  urn: string;
  custom: boolean;
  /** Replaced, and still to be deleted. */
  delete?: boolean;
  id?: string;
  type: string;
  inputs: PropertyMap;
  outputs: PropertyMap;
  parent?: string;
  protect?: boolean;
  /** Read, not managed. */
  external?: boolean;
  dependencies?: string[];
  initErrors?: string[];
  provider?: string;
  propertyDependencies?: Record<string, string[]>;
  /** Deleted, and still to be created again. */
  pendingReplacement?: boolean;
  additionalSecretOutputs?: string[];
  aliases?: string[];
  retainOnDelete?: boolean;
  deletedWith?: string;
  ignoreChanges?: string[];
  created?: string;
  modified?: string;
}

/** URNs of everything that must exist as long as the resource does. */
export function dependencyUrns(state: ResourceState): Set<string> {
  const urns = new Set(state.dependencies ?? []);
  for (const list of Object.values(state.propertyDependencies ?? {})) for (const urn of list) urns.add(urn);
  if (state.parent) urns.add(state.parent);
  if (state.deletedWith) urns.add(state.deletedWith);
  if (state.provider) urns.add(parseProviderReference(state.provider).urn);
  return urns;
}

/** Renames or removes (`undefined`) references to other resources. */
export function mapReferences(state: ResourceState, map: (urn: string) => string | undefined): ResourceState {
  const list = (urns: string[]) => urns.map(map).filter((urn) => urn !== undefined);
  return {
    ...state,
    parent: state.parent && map(state.parent),
    deletedWith: state.deletedWith && map(state.deletedWith),
    dependencies: state.dependencies && list(state.dependencies),
    propertyDependencies:
      state.propertyDependencies &&
      Object.fromEntries(Object.entries(state.propertyDependencies).map(([key, urns]) => [key, list(urns)])),
  };
}
