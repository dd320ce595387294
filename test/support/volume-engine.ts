import { createServer, type IncomingMessage, type Server } from "node:http";
import { join } from "node:path";
import { buffer, text } from "node:stream/consumers";
import { extract, pack } from "tar-stream";

/** A file or folder of a volume, as an archive has it. */
export interface StoredFile {
  /** null: a folder */
  content: string | null;
  mode: number;
  uid: number;
}

interface Made {
  id: string;
  name: string;
  labels: Record<string, string>;
  /** path in the container to the volume */
  mounts: Map<string, string>;
  isReadOnly: boolean;
}

interface CreateBody {
  Labels?: Record<string, string>;
  HostConfig?: { ReadonlyRootfs?: boolean; Mounts?: { Source: string; Target: string }[] };
}

/**
 * The part of an engine that volumes and archives are of (Docker Engine API 1.41), in memory and over a real socket: a
 * volume that is used can't be removed, an archive is unpacked where a volume is mounted, and a read-only root refuses it.
 */
export class VolumeEngine {
  readonly volumes = new Map<string, { labels: Record<string, string> | null; files: Map<string, StoredFile> }>();
  readonly containers = new Map<string, Made>();
  private server: Server | undefined;
  private count = 0;

  async listen(socketPath: string): Promise<void> {
    this.server = createServer((request, response) => {
      this.answer(request).then(
        ({ status, body }) => {
          response.writeHead(status, {
            "content-type": Buffer.isBuffer(body) ? "application/x-tar" : "application/json",
          });
          response.end(Buffer.isBuffer(body) ? body : JSON.stringify(body ?? {}));
        },
        (error: Error) => response.writeHead(500).end(JSON.stringify({ message: error.message })),
      );
    });
    await new Promise<void>((resolve) => this.server?.listen(socketPath, resolve));
  }

  close(): void {
    this.server?.close();
  }

  private async answer(request: IncomingMessage): Promise<{ status: number; body?: unknown }> {
    const url = new URL(request.url ?? "", "http://engine");
    const [, kind, id, action] = url.pathname.split("/").map(decodeURIComponent);
    const absent = { status: 404, body: { message: "no such object" } };
    if (kind === "volumes" && id === "create") {
      const { Name, Labels } = JSON.parse(await text(request)) as { Name: string; Labels: Record<string, string> };
      if (!this.volumes.has(Name)) this.volumes.set(Name, { labels: Labels ?? null, files: new Map() });
      return { status: 201, body: { Name } };
    }
    if (kind === "volumes") {
      const found = this.volumes.get(id);
      if (found === undefined) return absent;
      if (request.method === "GET") return { status: 200, body: { Name: id, Labels: found.labels } };
      if (this.usersOf(id).length > 0) return { status: 409, body: { message: "volume is in use" } };
      this.volumes.delete(id);
      return { status: 204 };
    }
    if (kind === "containers" && id === "create") {
      return {
        status: 201,
        body: { Id: this.make(url.searchParams.get("name") ?? "", JSON.parse(await text(request)) as CreateBody) },
      };
    }
    if (kind === "containers" && id === "json") {
      const { volume = [], label = [] } = JSON.parse(url.searchParams.get("filters") ?? "{}") as Record<
        string,
        string[]
      >;
      const found = [...this.containers.values()].filter(
        ({ mounts, labels }) =>
          volume.every((name) => [...mounts.values()].includes(name)) &&
          label.every((each) => each === `${each.split("=")[0]}=${labels[each.split("=")[0]]}`),
      );
      return {
        status: 200,
        body: found.map(({ id: Id, name, labels: Labels }) => ({ Id, Names: [`/${name}`], Labels, Ports: [] })),
      };
    }
    const container = this.containers.get(id) ?? [...this.containers.values()].find(({ name }) => name === id);
    if (kind !== "containers" || container === undefined) return absent;
    const path = url.searchParams.get("path") ?? "/";
    if (action === "archive" && request.method === "PUT") return this.unpack(container, path, await buffer(request));
    if (action === "archive") return this.packed(container, path);
    if (action === "stop") return { status: 204 };
    if (request.method === "DELETE") {
      this.containers.delete(container.id);
      return { status: 204 };
    }
    return {
      status: 200,
      body: { Id: container.id, Name: `/${container.name}`, Config: { Labels: container.labels } },
    };
  }

  private make(name: string, { Labels = {}, HostConfig = {} }: CreateBody): string {
    const id = `id${++this.count}`;
    const mounts = new Map((HostConfig.Mounts ?? []).map(({ Source, Target }) => [Target, Source]));
    // A volume that is missing is made: by nobody in particular.
    for (const volume of mounts.values()) {
      if (!this.volumes.has(volume)) this.volumes.set(volume, { labels: null, files: new Map() });
    }
    this.containers.set(id, { id, name, labels: Labels, mounts, isReadOnly: HostConfig.ReadonlyRootfs === true });
    return id;
  }

  usersOf(volume: string): string[] {
    return [...this.containers.values()]
      .filter(({ mounts }) => [...mounts.values()].includes(volume))
      .map(({ name }) => name);
  }

  /** Where a path of a container is: in a volume, or null: in its own layer. */
  private place({ mounts }: Made, path: string): { volume: string; inside: string } | null {
    const targets = [...mounts.keys()].filter((target) => path === target || path.startsWith(`${target}/`));
    const target = targets.sort((a, b) => b.length - a.length)[0];
    const volume = target === undefined ? undefined : mounts.get(target);
    return volume === undefined ? null : { volume, inside: path.slice(target.length + 1) };
  }

  private async unpack(container: Made, path: string, archive: Buffer): Promise<{ status: number; body?: unknown }> {
    if (container.isReadOnly && this.place(container, path) === null) {
      return { status: 403, body: { message: "container rootfs is marked read-only" } };
    }
    const reader = extract();
    reader.end(archive);
    for await (const entry of reader) {
      const { name, type, mode = 0, uid = 0 } = entry.header;
      const place = this.place(container, join(path, name).replace(/\/$/, ""));
      const content = type === "directory" ? null : await text(entry);
      if (content === null) entry.resume();
      if (place !== null) this.volumes.get(place.volume)?.files.set(place.inside, { content, mode, uid });
    }
    return { status: 200 };
  }

  private async packed(container: Made, path: string): Promise<{ status: number; body?: unknown }> {
    const place = this.place(container, path);
    if (place === null) return { status: 404, body: { message: "no such file" } };
    const archive = pack();
    const folder = path.split("/").at(-1);
    archive.entry({ name: `${folder}/`, type: "directory" });
    for (const [name, { content, mode, uid }] of this.volumes.get(place.volume)?.files ?? []) {
      if (content !== null && name.startsWith(place.inside))
        archive.entry({ name: `${folder}/${name}`, mode, uid }, content);
    }
    archive.finalize();
    const chunks: Buffer[] = [];
    for await (const chunk of archive) chunks.push(chunk as Buffer);
    return { status: 200, body: Buffer.concat(chunks) };
  }
}
