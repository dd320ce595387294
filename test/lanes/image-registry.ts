import { createHash } from "node:crypto";
import { createReadStream, createWriteStream, mkdtempSync, readFileSync, renameSync, rmSync, statSync } from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { PassThrough } from "node:stream";
import { pipeline } from "node:stream/promises";
import type Docker from "dockerode";
import { extract } from "tar-stream";

const manifestType = "application/vnd.docker.distribution.manifest.v2+json";

/**
 * A registry on a loopback port that has one image, as `docker save` has it (Docker Registry HTTP API V2, pulls only), for the
 * user `puller` with this password.
 */
export class ImageRegistry {
  private constructor(
    private readonly server: Server,
    private readonly folder: string,
    /** `127.0.0.1:port/name` */
    readonly name: string,
    /** of its manifest */
    readonly digest: string,
  ) {}

  static async of(docker: Docker, image: string, password: string): Promise<ImageRegistry> {
    const wanted = `Basic ${Buffer.from(`puller:${password}`).toString("base64")}`;
    const folder = mkdtempSync(join(tmpdir(), "sluice-registry-"));
    const sizes = new Map<string, number>();
    const digests = new Map<string, string>();
    const reader = extract();
    const read = (async () => {
      for await (const entry of reader) {
        if (entry.header.type !== "file") {
          entry.resume();
          continue;
        }
        const hash = createHash("sha256");
        const path = join(folder, "incoming");
        const through = new PassThrough();
        through.on("data", (chunk: Buffer) => hash.update(chunk));
        await pipeline(entry, through, createWriteStream(path));
        const digest = `sha256:${hash.digest("hex")}`;
        sizes.set(digest, statSync(path).size);
        digests.set(entry.header.name, digest);
        renameSync(path, join(folder, digest));
      }
    })();
    await Promise.all([pipeline(await docker.getImage(image).get(), reader), read]);
    const list = readFileSync(join(folder, digests.get("manifest.json") ?? ""), "utf8");
    const [{ Config, Layers }] = JSON.parse(list) as { Config: string; Layers: string[] }[];
    const part = (mediaType: string, name: string) => {
      const digest = digests.get(name) ?? "";
      return { mediaType, size: sizes.get(digest), digest };
    };
    const manifest = JSON.stringify({
      schemaVersion: 2,
      mediaType: manifestType,
      config: part("application/vnd.docker.container.image.v1+json", Config),
      layers: Layers.map((name) => part("application/vnd.docker.image.rootfs.diff.tar", name)),
    });
    const digest = `sha256:${createHash("sha256").update(manifest).digest("hex")}`;
    const server = createServer((request, response) => {
      const [kind, which] = (request.url ?? "").split("/").slice(-2);
      response.setHeader("docker-distribution-api-version", "registry/2.0");
      if (request.headers.authorization !== wanted) {
        response.writeHead(401, { "www-authenticate": 'Basic realm="lane"' }).end();
        return;
      }
      if (kind === "manifests") {
        const length = Buffer.byteLength(manifest);
        response.writeHead(200, {
          "content-type": manifestType,
          "content-length": length,
          "docker-content-digest": digest,
        });
        response.end(request.method === "HEAD" ? undefined : manifest);
      } else if (kind === "blobs" && sizes.has(which)) {
        response.writeHead(200, { "content-length": sizes.get(which) });
        createReadStream(join(folder, which)).pipe(response);
      } else response.writeHead(kind === "v2" ? 200 : 404).end();
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    return new ImageRegistry(server, folder, `127.0.0.1:${(server.address() as AddressInfo).port}/sluice`, digest);
  }

  close(): void {
    this.server.closeAllConnections();
    this.server.close();
    rmSync(this.folder, { recursive: true });
  }
}
