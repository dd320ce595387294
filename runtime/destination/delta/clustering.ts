import { z } from "zod";
import type { AddFile, DomainMetadata } from "./actions";

/** Features of a clustered table (protocol, "Clustered Table"); readers need neither. */
export const clusteringFeatures = ["clustering", "domainMetadata"];

const clusteringDomain = "delta.clustering";

/** Columns by their physical names: a name, or the path to a field of a struct, as Spark writes both. */
const configurationSchema = z.object({ clusteringColumns: z.array(z.union([z.string(), z.array(z.string())])) });

type Domains = ReadonlyMap<string, DomainMetadata>;

/**
 * Physical names of the columns that a table is clustered by, in order; [] when by none (any more); null when it is no
 * clustered table. Fields of structs, which no table of ours has, are left out.
 */
export function clusteringColumns(domains: Domains): string[] | null {
  const found = domains.get(clusteringDomain);
  if (found === undefined) return null;
  const parsed = configurationSchema.safeParse(JSON.parse(found.configuration));
  if (!parsed.success) return [];
  return parsed.data.clusteringColumns.flatMap((each) =>
    typeof each === "string" ? [each] : each.length === 1 ? each : [],
  );
}

/** Pure: a table's domains with other clustering columns; null takes the domain away. */
export function withClustering(domains: Domains, columns: string[] | null): Map<string, DomainMetadata> {
  const changed = new Map(domains);
  if (columns === null) {
    changed.delete(clusteringDomain);
    return changed;
  }
  if (JSON.stringify(clusteringColumns(domains)) === JSON.stringify(columns)) return changed;
  const configuration = { clusteringColumns: columns.map((each) => [each]), domainName: clusteringDomain };
  return changed.set(clusteringDomain, {
    domain: clusteringDomain,
    configuration: JSON.stringify(configuration),
    removed: false,
  });
}

/** Pure: what a commit writes so that a table has these domains. */
export function domainChanges(before: Domains, after: Domains): { domainMetadata: DomainMetadata }[] {
  const written = [...after.values()].filter(
    ({ domain, configuration }) => before.get(domain)?.configuration !== configuration,
  );
  const removed = [...before.values()].filter(({ domain }) => !after.has(domain));
  return [...written, ...removed.map((each) => ({ ...each, removed: true }))].map((domainMetadata) => ({
    domainMetadata,
  }));
}

/** Who has put a file's rows together, with the tags that tell it how. */
export type FileClustering = Pick<AddFile, "clusteringProvider" | "tags">;

/**
 * What a file written anew with rows of one file alone, in their order, keeps of it; null where nobody has clustered it.
 * What others have clustered isn't ours to cluster otherwise (protocol, "Writer Requirements for Clustered Table").
 */
export function keptClustering(of: FileClustering | null): FileClustering | null {
  return of?.clusteringProvider ? of : null;
}
