import { ApiFailure, type Reply } from "./databricks-reply";

export interface Principal {
  /** a service principal's application id, or a user's name */
  name: string;
  groups?: string[];
}

type Grants = Map<string, Map<string, Set<string>>>;

/**
 * Unity Catalog's objects and privileges (/api/2.1/unity-catalog), as far as a runtime asks: names of `catalogs`,
 * `catalog.schema` and volumes that exist, and what is granted on each to whom. A privilege of an object above holds below.
 */
export class DatabricksCatalog {
  readonly catalogs = new Set<string>();
  readonly schemas = new Set<string>();
  readonly connections = new Set<string>();
  private readonly grants: Grants = new Map();

  constructor(private readonly hasVolume: (volume: string) => boolean) {}

  grant(object: string, principal: string, ...privileges: string[]): void {
    const ofObject = this.grants.get(object) ?? new Map<string, Set<string>>();
    this.grants.set(object, ofObject);
    const held = ofObject.get(principal) ?? new Set();
    ofObject.set(principal, held);
    for (const privilege of privileges) held.add(privilege);
  }

  revoke(object: string, principal: string, ...privileges: string[]): void {
    for (const privilege of privileges) this.grants.get(object)?.get(principal)?.delete(privilege);
  }

  /** All that reading and writing a volume takes. */
  grantVolume(volume: string, principal: string): void {
    const [catalog, schema] = volume.split(".");
    this.catalogs.add(catalog);
    this.schemas.add(`${catalog}.${schema}`);
    this.grant(catalog, principal, "USE_CATALOG");
    this.grant(`${catalog}.${schema}`, principal, "USE_SCHEMA");
    this.grant(volume, principal, "READ_VOLUME", "WRITE_VOLUME");
  }

  holds(principal: Principal, object: string, privilege: string): boolean {
    const parts = object.split(".");
    const names = [principal.name, ...(principal.groups ?? [])];
    return parts.some((_, index) => {
      const ofObject = this.grants.get(parts.slice(0, index + 1).join("."));
      return names.some((name) => {
        const held = ofObject?.get(name);
        return held?.has(privilege) === true || held?.has("ALL_PRIVILEGES") === true;
      });
    });
  }

  /** @throws ApiFailure 403 */
  assertFiles(principal: Principal, volume: string, privilege: "READ_VOLUME" | "WRITE_VOLUME"): void {
    const [catalog, schema] = volume.split(".");
    const needed = [
      [catalog, "USE_CATALOG"],
      [`${catalog}.${schema}`, "USE_SCHEMA"],
      [volume, privilege],
    ];
    for (const [object, each] of needed) {
      if (this.holds(principal, object, each)) continue;
      const message = `User does not have ${each.replaceAll("_", " ")} on '${object}'.`;
      throw new ApiFailure(403, "PERMISSION_DENIED", message);
    }
  }

  describe(kind: string, name: string): Reply {
    const exists =
      kind === "catalogs"
        ? this.catalogs.has(name)
        : kind === "schemas"
          ? this.schemas.has(name)
          : kind === "connections"
            ? this.connections.has(name)
            : this.hasVolume(name);
    if (!exists) {
      const codes: Record<string, string> = { catalogs: "CATALOG_DOES_NOT_EXIST", schemas: "SCHEMA_DOES_NOT_EXIST" };
      throw new ApiFailure(404, codes[kind] ?? "RESOURCE_DOES_NOT_EXIST", `'${name}' does not exist.`);
    }
    const volume = kind === "volumes" ? { volume_type: "MANAGED" } : {};
    return {
      status: 200,
      body: { full_name: name, name: name.split(".").at(-1), owner: "owner@example.com", ...volume },
    };
  }

  /** What the principal holds on an object, with what it inherits; one assignment a page, after an empty first one. */
  effective(object: string, principal: string | null, query: URLSearchParams): Reply {
    const parts = object.split(".");
    const assignments = new Map<string, Map<string, string>>();
    for (let depth = 1; depth <= parts.length; depth++) {
      const from = parts.slice(0, depth).join(".");
      for (const [name, held] of this.grants.get(from) ?? []) {
        if (principal !== null && name !== principal) continue;
        const ofName = assignments.get(name) ?? new Map<string, string>();
        assignments.set(name, ofName);
        for (const privilege of held) ofName.set(privilege, from);
      }
    }
    const all = [...assignments].map(([name, held]) => ({
      principal: name,
      privileges: [...held].map(([privilege, from]) =>
        from === object ? { privilege } : { privilege, inherited_from_name: from },
      ),
    }));
    if (query.get("max_results") !== "0") return { status: 200, body: { privilege_assignments: all } };
    const at = Number(query.get("page_token") ?? 0);
    const page = at === 0 ? [] : all.slice(at - 1, at);
    const next = at < all.length ? { next_page_token: String(at + 1) } : {};
    return { status: 200, body: { privilege_assignments: page, ...next } };
  }
}
