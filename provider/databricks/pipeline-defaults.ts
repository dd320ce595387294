/*
 * The server answers with more than it was given, and the provider takes each difference for a change: of a gateway that is
 * a restart, which starts a running snapshot anew; of some properties a new pipeline, with which the old one's tables go.
 * So what it answers with is said, or is never compared. The properties are those of
 * databricks/terraform-provider-databricks, issues #4418 and #4419, and what its resource_pipeline.go compares.
 */

/** Said as the server has them by default. */
const common = { allowDuplicateNames: false, development: false } as const;

/** Runs on classic compute, for good. */
export const gatewayDefaults = { ...common, continuous: true, serverless: false, photon: false } as const;

/** Runs on serverless compute, when it is triggered: the vendor's connectors of databases have no continuous mode. */
export const ingestionDefaults = { ...common, continuous: false, serverless: true } as const;

/** Filled in by the server, or by a policy of the workspace. */
const unsaid = ["expectedLastModified", "target", "budgetPolicyId", "usagePolicyId"];

/** Paths of a gateway that are never compared: `connectionId`, of which a difference replaces it, stands for the name. */
export function gatewayIgnored(hasCluster: boolean): string[] {
  const ignored = [...unsaid, "tags", "gatewayDefinition.connectionId", "gatewayDefinition.connectionParameters"];
  return hasCluster ? ignored : [...ignored, "clusters"];
}

/** Paths of an ingestion pipeline that are never compared. `connectionName` is another way to say which gateway it has. */
export function ingestionIgnored(hasTags: boolean): string[] {
  const ignored = [
    ...unsaid,
    "photon",
    "clusters",
    "ingestionDefinition.connectionName",
    "ingestionDefinition.connectorType",
    "ingestionDefinition.sourceType",
    "ingestionDefinition.tableConfiguration",
  ];
  return hasTags ? ignored : [...ignored, "tags"];
}
