import { z } from "zod";
import { apiErrorOf } from "./api-error";
import type { SecurableType } from "./privileges";
import type { WorkspaceClient } from "./workspace-client";

const meSchema = z.object({
  userName: z.string(),
  groups: z.array(z.object({ display: z.string().optional() })).optional(),
});

const objectSchema = z.object({ owner: z.string().optional() });

const effectiveSchema = z.object({
  privilege_assignments: z
    .array(
      z.object({
        principal: z.string().optional(),
        privileges: z.array(z.object({ privilege: z.string().optional() })).optional(),
      }),
    )
    .optional(),
  next_page_token: z.string().optional(),
});

const warehouseSchema = z.object({ name: z.string().optional(), state: z.string().optional() });

/** Every user and service principal of an account is in it, whatever is told of their groups. */
const everybody = "account users";

export interface Identity {
  /** a user's name or a service principal's application id, as it is granted to */
  name: string;
  groups: string[];
}

/** What can be known of an object and what somebody holds on it. */
export type Holding =
  | { kind: "absent" }
  | { kind: "owner" }
  | { kind: "held"; privileges: string[] }
  /** who asks may not see it, or its privileges */
  | { kind: "hidden" };

const collections: Record<SecurableType, string> = {
  catalog: "catalogs",
  schema: "schemas",
  volume: "volumes",
  connection: "connections",
};

/** Who we are, and what Unity Catalog has and allows. Reads only. */
export class UnityCatalog {
  constructor(private readonly client: WorkspaceClient) {}

  async identity(): Promise<Identity> {
    const path = "/api/2.0/preview/scim/v2/Me";
    const { userName, groups = [] } = await this.client.json(
      { method: "GET", path, what: "tell who we are" },
      (value) => meSchema.parse(value),
    );
    return { name: userName, groups: groups.flatMap(({ display }) => (display === undefined ? [] : [display])) };
  }

  /** What an identity holds on an object: by itself, by its groups, and inherited from the objects above. */
  async holding(type: SecurableType, name: string, { name: principal, groups }: Identity): Promise<Holding> {
    const names = new Set([principal, ...groups, everybody]);
    try {
      const path = `/api/2.1/unity-catalog/${collections[type]}/${encodeURIComponent(name)}`;
      const { owner } = await this.client.json({ method: "GET", path, what: `describe the ${type} ${name}` }, (value) =>
        objectSchema.parse(value),
      );
      if (owner !== undefined && names.has(owner)) return { kind: "owner" };
      return { kind: "held", privileges: await this.privileges(type, name, names) };
    } catch (error) {
      const status = apiErrorOf(error)?.statusCode;
      if (status === 404) return { kind: "absent" };
      if (status === 403) return { kind: "hidden" };
      throw error;
    }
  }

  private async privileges(type: SecurableType, name: string, of: ReadonlySet<string>): Promise<string[]> {
    const held = new Set<string>();
    let token: string | undefined;
    do {
      const query: Record<string, string> = { max_results: "0", ...(token === undefined ? {} : { page_token: token }) };
      const path = `/api/2.1/unity-catalog/effective-permissions/${type}/${encodeURIComponent(name)}`;
      const what = `tell the privileges on the ${type} ${name}`;
      const page = await this.client.json({ method: "GET", path, query, what }, (value) =>
        effectiveSchema.parse(value),
      );
      for (const { principal, privileges = [] } of page.privilege_assignments ?? []) {
        if (principal === undefined || !of.has(principal)) continue;
        for (const { privilege } of privileges) if (privilege !== undefined) held.add(privilege);
      }
      token = page.next_page_token || undefined;
    } while (token !== undefined);
    return [...held].sort();
  }

  /** `null` when there is no such warehouse. */
  async warehouse(id: string): Promise<{ name: string; state: string } | null> {
    const path = `/api/2.0/sql/warehouses/${encodeURIComponent(id)}`;
    try {
      const found = await this.client.json({ method: "GET", path, what: `tell of the SQL warehouse ${id}` }, (value) =>
        warehouseSchema.parse(value),
      );
      return { name: found.name ?? id, state: found.state ?? "unknown" };
    } catch (error) {
      if (apiErrorOf(error)?.statusCode === 404) return null;
      throw error;
    }
  }
}
