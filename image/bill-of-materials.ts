import { createHash } from "node:crypto";

/** A package as package-lock.json has it. */
export interface LockedPackage {
  version: string;
  /** `sha512-` and base64 */
  integrity?: string;
  license?: string;
  resolved?: string;
}

export interface BillOptions {
  /** of pulumi-sluice */
  version: string;
  /** packages in the image, by their folder in package-lock.json */
  packages: Record<string, LockedPackage>;
}

/**
 * Pure: the packages in the image (Node itself is the base's), as a CycloneDX 1.5 document (https://cyclonedx.org/docs/1.5/json/). Without a time, and with
 * a serial number of its content, so that the same packages make the same document.
 */
export function billOfMaterials({ version, packages }: BillOptions): string {
  const components = Object.entries(packages)
    .map(([folder, locked]) => component(folder.slice(folder.lastIndexOf("node_modules/") + 13), locked))
    .sort((a, b) => (a["bom-ref"] < b["bom-ref"] ? -1 : 1));
  const purl = `pkg:npm/pulumi-sluice@${version}`;
  const own = { type: "application", "bom-ref": purl, name: "pulumi-sluice", version, purl };
  const content = { metadata: { component: own }, components };
  const digest = createHash("sha256").update(JSON.stringify(content)).digest("hex");
  const document = {
    bomFormat: "CycloneDX",
    specVersion: "1.5",
    serialNumber: `urn:uuid:${uuidOf(digest)}`,
    version: 1,
    ...content,
  };
  return `${JSON.stringify(document, null, 2)}\n`;
}

function component(name: string, { version, integrity, license, resolved }: LockedPackage) {
  const purl = `pkg:npm/${name.replace(/^@/, "%40")}@${version}`;
  const [algorithm, content] = integrity?.split("-", 2) ?? [];
  const hashes =
    algorithm === "sha512" ? [{ alg: "SHA-512", content: Buffer.from(content, "base64").toString("hex") }] : undefined;
  return {
    type: "library",
    "bom-ref": purl,
    name,
    version,
    ...(hashes === undefined ? {} : { hashes }),
    ...(license === undefined ? {} : { licenses: [{ expression: license }] }),
    purl,
    ...(resolved === undefined ? {} : { externalReferences: [{ type: "distribution", url: resolved }] }),
  };
}

/** A UUID of version 8 (RFC 9562, 5.8): bits of our own choice. */
function uuidOf(hex: string): string {
  const variant = "89ab"[Number.parseInt(hex[16], 16) % 4];
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-8${hex.slice(13, 16)}-${variant}${hex.slice(17, 20)}-${hex.slice(20, 32)}`;
}
