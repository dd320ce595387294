import { basename } from "node:path";
import { z } from "zod";
import { type ApiError, apiErrorOf } from "../../runtime/databricks/api-error";
import type { HttpRequest } from "../../runtime/databricks/http";
import type { WorkspaceClient } from "../../runtime/databricks/workspace-client";

export const answers = (error: unknown, status: number, codes: readonly string[]): boolean => {
  const found: ApiError | null = apiErrorOf(error);
  return found !== null && (found.statusCode === status || codes.includes(found.body.errorCode ?? ""));
};
const isAbsent = (error: unknown) => answers(error, 404, ["RESOURCE_DOES_NOT_EXIST"]);
export const isThere = (error: unknown) => answers(error, 409, ["RESOURCE_ALREADY_EXISTS", "ALREADY_EXISTS"]);

/** Files and secret scopes of one workspace. */
export class WorkspaceApi {
  constructor(readonly client: WorkspaceClient) {}

  async makeFolder(path: string): Promise<void> {
    await this.send("POST", "/api/2.0/workspace/mkdirs", `make the folder ${path}`, { path });
  }

  async writeFile(path: string, content: Buffer): Promise<void> {
    const body = { path, format: "RAW", overwrite: true, content: content.toString("base64") };
    await this.send("POST", "/api/2.0/workspace/import", `take the file ${path}`, body);
  }

  /** @param files by name */
  async writeFolder(path: string, files: Readonly<Record<string, string | Buffer>>): Promise<void> {
    await this.makeFolder(path);
    for (const [name, content] of Object.entries(files)) await this.writeFile(`${path}/${name}`, Buffer.from(content));
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

  /** Names of the folders in one; none where it isn't there. */
  async folders(path: string): Promise<string[]> {
    const objects = z.array(z.object({ path: z.string(), object_type: z.string().optional() })).default([]);
    const what = `list the folder ${path}`;
    const found = await orNull(() =>
      this.json("GET", "/api/2.0/workspace/list", what, z.object({ objects }), undefined, { path }),
    );
    const folders = (found?.objects ?? []).filter(({ object_type }) => object_type === "DIRECTORY");
    return folders.map((each) => basename(each.path));
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

  protected async json<T>(
    method: HttpRequest["method"],
    path: string,
    what: string,
    schema: z.ZodType<T>,
    body?: object,
    query?: Record<string, string>,
  ): Promise<T> {
    return this.client.json({ method, path, what, query, ...bodyOf(body) }, (value) => schema.parse(value));
  }

  protected async send(method: HttpRequest["method"], path: string, what: string, body?: object): Promise<void> {
    await this.client.done({ method, path, what, ...bodyOf(body) });
  }
}

const bodyOf = (body: object | undefined) =>
  body === undefined
    ? {}
    : { body: { kind: "bytes" as const, bytes: Buffer.from(JSON.stringify(body)), type: "application/json" } };

export async function orNull<T>(ask: () => Promise<T>): Promise<T | null> {
  try {
    return await ask();
  } catch (error) {
    if (isAbsent(error)) return null;
    throw error;
  }
}
