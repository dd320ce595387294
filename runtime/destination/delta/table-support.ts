import { SluiceError } from "../../errors";
import type { MetaData, Protocol } from "./actions";

/** Features of the protocol that this writer keeps to. */
const knownFeatures = new Set([
  "appendOnly",
  "changeDataFeed",
  "clustering",
  "columnMapping",
  "deletionVectors",
  "domainMetadata",
  "invariants",
  "timestampNtz",
]);

interface Field {
  name: string;
  nullable?: boolean;
  metadata?: Record<string, unknown>;
}

/**
 * Pure: refuses a table whose features this writer doesn't keep to. In protocols before 7 they have no names: there they
 * are found by what uses them (protocol, "Valid Feature Names in Table Features").
 * @throws SluiceError `unsupported`
 */
export function assertSupported(path: string, protocol: Protocol, metaData: MetaData): void {
  const features = [...(protocol.readerFeatures ?? []), ...(protocol.writerFeatures ?? [])];
  const unknown = [...new Set(features.filter((feature) => !knownFeatures.has(feature)))];
  if (unknown.length > 0 || protocol.minReaderVersion > 3 || protocol.minWriterVersion > 7) {
    const what = unknown.length > 0 ? `features ${unknown.join(", ")}` : "a newer protocol";
    throw refusal(path, what, "Drop the features (ALTER TABLE … DROP FEATURE)");
  }
  const { configuration } = metaData;
  if (configuration["delta.columnMapping.mode"] === "id") {
    // Files would need the ids of their columns.
    throw refusal(path, "delta.columnMapping.mode = id", "Make the table anew with the mode name");
  }
  const constraint = Object.keys(configuration).find((key) => key.startsWith("delta.constraints."));
  if (constraint !== undefined) {
    const name = constraint.slice("delta.constraints.".length);
    throw refusal(path, `the CHECK constraint ${name}`, `Drop it (ALTER TABLE … DROP CONSTRAINT ${name})`);
  }
  const { fields } = JSON.parse(metaData.schemaString) as { fields: Field[] };
  for (const { name, nullable, metadata = {} } of fields) {
    const rule = Object.keys(metadata).find((key) => /^delta\.(invariants|generationExpression|identity\.)/.test(key));
    if (rule !== undefined) throw refusal(path, `${rule} of column ${name}`, "Make the column anew without it");
    if (nullable === false) {
      throw refusal(path, `NOT NULL of column ${name}`, `Drop it (ALTER TABLE … ALTER COLUMN ${name} DROP NOT NULL)`);
    }
  }
}

/** @throws SluiceError `unsupported` when rows may only be added, and a commit would remove some */
export function assertMayRemove(path: string, metaData: MetaData | null): void {
  if (metaData?.configuration["delta.appendOnly"] !== "true") return;
  throw new SluiceError("unsupported", `Delta table ${path} has delta.appendOnly, but rows change or go`, {
    remedy: "Unset it (ALTER TABLE … UNSET TBLPROPERTIES ('delta.appendOnly')), or choose another destination path.",
  });
}

function refusal(path: string, what: string, remedy: string): SluiceError {
  return new SluiceError("unsupported", `Delta table ${path} needs ${what}, which this version can't write`, {
    remedy: `${remedy}, or choose another destination path.`,
  });
}
