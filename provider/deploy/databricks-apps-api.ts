import { z } from "zod";
import { type ApiError, apiErrorOf } from "../../runtime/databricks/api-error";
import type { HttpRequest } from "../../runtime/databricks/http";
import type { WorkspaceClient } from "../../runtime/databricks/workspace-client";

const deploymentSchema = z.object({
  deployment_id: z.string(),
  source_code_path: z.string().optional(),
  status: z.object({ state: z.string(), message: z.string().optional() }).optional(),
});
export type AppDeployment = z.infer<typeof deploymentSchema>;

const stateSchema = z.object({ state: z.string(), message: z.string().optional() });

const appSchema = z.object({
  name: z.string(),
  description: z.string().optional(),
  url: z.string().optional(),
  /** CRASHED, DEPLOYING, RUNNING, UNAVAILABLE */
  app_status: stateSchema.optional(),
  /** ACTIVE, DELETING, ERROR, STARTING, STOPPED, STOPPING, UPDATING */
  compute_status: stateSchema.optional(),
  compute_size: z.string().optional(),
  resources: z.array(z.looseObject({ name: z.string() })).optional(),
  active_deployment: deploymentSchema.optional(),
  pending_deployment: deploymentSchema.optional(),
});
export type App = z.infer<typeof appSchema>;

const pageSchema = z.object({ apps: z.array(appSchema).default([]), next_page_token: z.string().optional() });

/** A variable's secret, which the app's service principal may read by it. */
export interface SecretResource {
  name: string;
  secret: { scope: string; key: string; permission: "READ" };
}

export interface AppSettings {
  description: string;
  compute_size?: string;
  resources?: readonly (SecretResource | { name: string })[];
}

const answers = (error: unknown, status: number, codes: readonly string[]): boolean => {
  const found: ApiError | null = apiErrorOf(error);
  return found !== null && (found.statusCode === status || codes.includes(found.body.errorCode ?? ""));
};
const isAbsent = (error: unknown) => answers(error, 404, ["RESOURCE_DOES_NOT_EXIST"]);
const isThere = (error: unknown) => answers(error, 409, ["RESOURCE_ALREADY_EXISTS", "ALREADY_EXISTS"]);

/** Apps, workspace files and secret scopes of one workspace. */
export class AppsApi {
  constructor(readonly client: WorkspaceClient) {}

  async app(name: string): Promise<App | null> {
    return orNull(() => this.json("GET", `/api/2.0/apps/${name}`, `tell of the app ${name}`, appSchema));
  }

  async apps(): Promise<App[]> {
    const found: App[] = [];
    for (let token: string | undefined; ; ) {
      const query = token === undefined ? undefined : { page_token: token };
      const page = await this.json("GET", "/api/2.0/apps", "list its apps", pageSchema, undefined, query);
      found.push(...page.apps);
      token = page.next_page_token;
      if (token === undefined || token === "") return found;
    }
  }

  /** Also where an earlier answer was lost. */
  async create(name: string, settings: AppSettings): Promise<void> {
    try {
      await this.send("POST", "/api/2.0/apps", `make the app ${name}`, { name, ...settings });
    } catch (error) {
      if (!isThere(error)) throw error;
    }
  }

  async update(name: string, settings: AppSettings): Promise<void> {
    await this.send("PATCH", `/api/2.0/apps/${name}`, `change the app ${name}`, settings);
  }

  async start(name: string): Promise<void> {
    await this.send("POST", `/api/2.0/apps/${name}/start`, `start the app ${name}`, {});
  }

  async delete(name: string): Promise<void> {
    await orNull(() => this.send("DELETE", `/api/2.0/apps/${name}`, `delete the app ${name}`));
  }

  /** Of what is under way already, where an earlier answer was lost, that; null where that is another deployment. */
  async deploy(name: string, path: string): Promise<AppDeployment | null> {
    const body = { source_code_path: path, mode: "SNAPSHOT" };
    try {
      return await this.json("POST", `/api/2.0/apps/${name}/deployments`, `deploy ${path}`, deploymentSchema, body);
    } catch (error) {
      const pending = (await this.app(name))?.pending_deployment;
      if (pending === undefined && !answers(error, 409, [])) throw error;
      return pending?.source_code_path === path ? pending : null;
    }
  }

  async deployment(name: string, id: string): Promise<AppDeployment> {
    return this.json("GET", `/api/2.0/apps/${name}/deployments/${id}`, `tell of a deployment`, deploymentSchema);
  }

  async makeFolder(path: string): Promise<void> {
    await this.send("POST", "/api/2.0/workspace/mkdirs", `make the folder ${path}`, { path });
  }

  async writeFile(path: string, content: Buffer): Promise<void> {
    const body = { path, format: "RAW", overwrite: true, content: content.toString("base64") };
    await this.send("POST", "/api/2.0/workspace/import", `take the file ${path}`, body);
  }

  async readFile(path: string): Promise<string | null> {
    const schema = z.object({ content: z.string() });
    const query = { path, format: "AUTO" };
    const found = await orNull(() =>
      this.json("GET", "/api/2.0/workspace/export", `give the file ${path}`, schema, undefined, query),
    );
    return found === null ? null : Buffer.from(found.content, "base64").toString("utf8");
  }

  async hasPath(path: string): Promise<boolean> {
    const what = `tell of ${path}`;
    const found = await orNull(() =>
      this.json("GET", "/api/2.0/workspace/get-status", what, z.object({}), undefined, { path }),
    );
    return found !== null;
  }

  async removeFolder(path: string): Promise<void> {
    await orNull(() =>
      this.send("POST", "/api/2.0/workspace/delete", `remove the folder ${path}`, { path, recursive: true }),
    );
  }

  async makeScope(scope: string): Promise<void> {
    try {
      await this.send("POST", "/api/2.0/secrets/scopes/create", `make the secret scope ${scope}`, { scope });
    } catch (error) {
      if (!isThere(error)) throw error;
    }
  }

  async putSecret(scope: string, key: string, value: string): Promise<void> {
    const body = { scope, key, string_value: value };
    await this.send("POST", "/api/2.0/secrets/put", `take a secret into the scope ${scope}`, body);
  }

  /** Names alone; null where there is no such scope. */
  async secretKeys(scope: string): Promise<string[] | null> {
    const schema = z.object({ secrets: z.array(z.object({ key: z.string() })).default([]) });
    const found = await orNull(() =>
      this.json("GET", "/api/2.0/secrets/list", `list the keys of the secret scope ${scope}`, schema, undefined, {
        scope,
      }),
    );
    return found === null ? null : found.secrets.map(({ key }) => key);
  }

  async deleteScope(scope: string): Promise<void> {
    await orNull(() =>
      this.send("POST", "/api/2.0/secrets/scopes/delete", `remove the secret scope ${scope}`, { scope }),
    );
  }

  private async json<T>(
    method: HttpRequest["method"],
    path: string,
    what: string,
    schema: z.ZodType<T>,
    body?: object,
    query?: Record<string, string>,
  ): Promise<T> {
    return this.client.json({ method, path, what, query, ...bodyOf(body) }, (value) => schema.parse(value));
  }

  private async send(method: HttpRequest["method"], path: string, what: string, body?: object): Promise<void> {
    await this.client.done({ method, path, what, ...bodyOf(body) });
  }
}

const bodyOf = (body: object | undefined) =>
  body === undefined
    ? {}
    : { body: { kind: "bytes" as const, bytes: Buffer.from(JSON.stringify(body)), type: "application/json" } };

async function orNull<T>(ask: () => Promise<T>): Promise<T | null> {
  try {
    return await ask();
  } catch (error) {
    if (isAbsent(error)) return null;
    throw error;
  }
}
