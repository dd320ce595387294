import { readFileSync } from "node:fs";
import { request } from "node:https";
import { parse } from "yaml";

/** An object of the API, as far as the lane looks at it. */
export interface Thing {
  apiVersion?: string;
  kind?: string;
  metadata: {
    name: string;
    namespace?: string;
    uid: string;
    resourceVersion: string;
    labels?: Record<string, string>;
    annotations?: Record<string, string>;
    deletionTimestamp?: string;
  };
  spec: Record<string, unknown>;
  status?: Record<string, unknown>;
}

/** As it is applied. */
export interface Wanted extends Record<string, unknown> {
  apiVersion: string;
  kind: string;
  metadata: { name: string } & Record<string, unknown>;
}

interface Kubeconfig {
  clusters: [{ cluster: { server: string; "certificate-authority": string } }];
  users: [{ user: { token: string } }];
}

const requestTimeoutMs = 20_000;

/** The API server said no. */
export class Refused extends Error {
  constructor(
    readonly code: number,
    message: string,
  ) {
    super(message);
  }
}

/** The API server as its administrator asks it, by a client that isn't ours. Throws Refused with the answer's text. */
export class ApiServer {
  private readonly config: Kubeconfig;

  constructor(kubeconfig: string) {
    this.config = parse(readFileSync(kubeconfig, "utf8"));
  }

  ask(method: string, path: string, body?: object, type = "application/json"): Promise<Thing & { items: Thing[] }> {
    const { server, "certificate-authority": authority } = this.config.clusters[0].cluster;
    const content = body === undefined ? "" : JSON.stringify(body);
    const headers = {
      authorization: `Bearer ${this.config.users[0].user.token}`,
      "content-type": type,
      // Said, as Node sends that of a DELETE without it, and the next request on the connection begins with it.
      "content-length": Buffer.byteLength(content),
    };
    const options = { method, headers, ca: readFileSync(authority), signal: AbortSignal.timeout(requestTimeoutMs) };
    return new Promise((resolve, reject) => {
      const asked = request(`${server}${path}`, options, (response) => {
        let text = "";
        response.setEncoding("utf8").on("data", (chunk) => {
          text += chunk;
        });
        response.on("error", reject);
        response.on("end", () => {
          const { statusCode = 500 } = response;
          if (statusCode < 300) resolve(JSON.parse(text));
          else reject(new Refused(statusCode, `${method} ${path}: ${text}`));
        });
      });
      asked.on("error", reject).end(content);
    });
  }

  /** null: there is none. */
  find(path: string): Promise<Thing | null> {
    return this.ask("GET", path).catch((error: unknown) => {
      if (error instanceof Refused && error.code === 404) return null;
      throw error;
    });
  }

  /** Made, or as it is already. */
  put(path: string, object: Wanted): Promise<Thing> {
    const query = "fieldManager=lane&force=true&fieldValidation=Strict";
    return this.ask("PATCH", `${path}/${object.metadata.name}?${query}`, object, "application/apply-patch+yaml");
  }

  /** A JSON merge patch of another field manager's. */
  merge(path: string, patch: object, manager: string): Promise<Thing> {
    return this.ask("PATCH", `${path}?fieldManager=${manager}`, patch, "application/merge-patch+json");
  }
}
