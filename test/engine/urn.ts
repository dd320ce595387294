/** Type of the resource that stands for the whole stack. */
export const STACK_TYPE = "pulumi:pulumi:Stack";
const PROVIDER_TYPE_PREFIX = "pulumi:providers:";

export interface UrnParts {
  stack: string;
  project: string;
  /** Types of the ancestors and of the resource, joined by `$`. */
  qualifiedType: string;
  type: string;
  name: string;
}

export function parseUrn(urn: string): UrnParts {
  const [prefix, project, qualifiedType, ...name] = urn.split("::");
  return {
    stack: prefix.slice("urn:pulumi:".length),
    project,
    qualifiedType,
    type: qualifiedType.slice(qualifiedType.lastIndexOf("$") + 1),
    name: name.join("::"),
  };
}

/** The stack itself does not count as an ancestor. */
export function formatUrn(stack: string, project: string, parent: string, type: string, name: string): string {
  const parentType = parent === "" ? "" : parseUrn(parent).qualifiedType;
  const qualifiedType = parentType === "" || parentType === STACK_TYPE ? type : `${parentType}$${type}`;
  return `urn:pulumi:${stack}::${project}::${qualifiedType}::${name}`;
}

export function isProviderType(type: string): boolean {
  return type.startsWith(PROVIDER_TYPE_PREFIX);
}

/** Package whose provider manages resources of a type: `pulumi-nodejs` of `pulumi-nodejs:dynamic/a:B`. */
export function packageOf(type: string): string {
  return isProviderType(type) ? type.slice(PROVIDER_TYPE_PREFIX.length) : type.split(":")[0];
}

export function defaultProviderUrn(stack: string, project: string, packageName: string): string {
  return formatUrn(stack, project, "", `${PROVIDER_TYPE_PREFIX}${packageName}`, "default");
}

/** A resource names its provider by URN and id. */
export function formatProviderReference(urn: string, id: string): string {
  return `${urn}::${id}`;
}

export function parseProviderReference(reference: string): { urn: string; id: string } {
  const end = reference.lastIndexOf("::");
  return { urn: reference.slice(0, end), id: reference.slice(end + 2) };
}
