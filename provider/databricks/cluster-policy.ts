/**
 * The policy that the vendor's gateway needs where clusters can't be made freely: the family Job Compute with these
 * overrides (docs.databricks.com, ingest data from PostgreSQL, before you begin).
 */
export const gatewayPolicy = {
  policyFamilyId: "job-cluster",
  policyFamilyDefinitionOverrides: JSON.stringify({
    cluster_type: { type: "fixed", value: "dlt" },
    num_workers: { type: "unlimited", defaultValue: 1, isOptional: true },
    runtime_engine: { type: "fixed", value: "STANDARD", hidden: true },
  }),
} as const;
