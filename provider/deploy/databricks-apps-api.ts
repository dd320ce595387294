import { z } from "zod";
import { answers, isThere, orNull, WorkspaceApi } from "./databricks-workspace-api";

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

/** Apps of one workspace. */
export class AppsApi extends WorkspaceApi {
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
}
