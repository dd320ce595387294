import { isAbsolute } from "node:path";
import { z } from "zod";

/** Labels with this prefix are ours: they tell our containers and volumes from all others. */
export const labelPrefix = "com.pulumi-sluice.";

/** Pure: whether a setting is the text itself (PEM, OpenSSH, lines of known_hosts), not the path of a file with it. */
export const isInline = (value: string) => value.startsWith("-----BEGIN ") || /\s(ssh-|ecdsa-|sk-)/.test(value);

/** A file of the machine that runs Pulumi, by its absolute path; or its content. */
const fileOrText = z
  .string()
  .min(1)
  .refine((value) => isInline(value) || isAbsolute(value), {
    error: "give an absolute path, or the file's content\n  remedy: Give a path as path.resolve(…).",
  });

const hostSchema = z.string().superRefine((host, context) => {
  const problem = hostProblem(host);
  if (problem !== null) context.addIssue({ code: "custom", message: problem });
});

const forms = "Use unix:///path, tcp://host:2376 or ssh://user@host.";

/** Pure: what is wrong with an engine's address; null when nothing is. */
export function hostProblem(host: string): string | null {
  const url = URL.canParse(host) ? new URL(host) : null;
  if (url === null || !["unix:", "tcp:", "ssh:"].includes(url.protocol)) {
    return `${JSON.stringify(host)} is no address of a container engine\n  remedy: ${forms}`;
  }
  if (url.password !== "")
    return "an engine's address has no password\n  remedy: Use a key: deployment.ssh.key, or an agent.";
  if (url.search !== "" || url.hash !== "") return `an engine's address ends with its path\n  remedy: ${forms}`;
  if (url.protocol === "unix:") {
    return url.hostname === "" && url.pathname.length > 1 ? null : `a socket's path is absolute\n  remedy: ${forms}`;
  }
  return url.hostname === "" ? `the address has no host\n  remedy: ${forms}` : null;
}

/** Settings of the Docker target. */
export const dockerOptionsSchema = z
  .strictObject({
    kind: z.literal("docker"),
    /** the engine's address: `unix:///path`, `tcp://host:2376` (TLS), `ssh://user@host`; default: that of `DOCKER_HOST` */
    host: hostSchema.optional(),
    /** the engine's socket, as `host: "unix://…"` */
    socketPath: z
      .string()
      .refine((path) => isAbsolute(path), { error: "a socket's path must be absolute" })
      .optional(),
    /** of `tcp://`; default: the files of `DOCKER_CERT_PATH`, else of ~/.docker */
    tls: z
      .strictObject({ ca: fileOrText.optional(), cert: fileOrText.optional(), key: fileOrText.optional() })
      .optional(),
    /** of `ssh://`; default: the keys of `SSH_AUTH_SOCK`, else of ~/.ssh, and ~/.ssh/known_hosts */
    ssh: z.strictObject({ key: fileOrText.optional(), knownHosts: fileOrText.optional() }).optional(),
    /**
     * where folders are: `folders` of the engine's machine, which is this one, at their own paths; or `volumes` of the
     * engine; default: `folders` for an engine's socket, `volumes` for all others
     */
    storage: z.enum(["folders", "volumes"]).optional(),
    /** a volume that is there, for the destination; default: one of ours, named by the destination's path */
    destinationVolume: z
      .string()
      .regex(/^[a-zA-Z0-9][a-zA-Z0-9_.-]*$/, { error: "a volume's name has letters, digits, _, . and -" })
      .optional(),
    /** default: `pulumi-sluice:<version of this package>` */
    image: z.string().min(1).optional(),
    /** `missing`, the default, pulls an image that the engine lacks; `always` each time; `never` */
    pull: z.enum(["missing", "always", "never"]).default("missing"),
    /** name of a network of the engine, or `host`; default: the engine's own bridge */
    network: z.string().min(1).optional(),
    /** memory of each container; default: no limit */
    memoryBytesMax: z
      .int()
      .min(256 * 1024 * 1024)
      .optional(),
    /** processors of each container, as 1.5; default: no limit */
    cpus: z.number().min(0.1).optional(),
    labels: z
      .record(z.string().min(1), z.string())
      .refine((labels) => Object.keys(labels).every((name) => !name.startsWith(labelPrefix)), {
        error: `labels that begin with ${labelPrefix} are ours`,
      })
      .optional(),
    /** `uid:gid` of the process; default: whoever runs Pulumi, or 65532:65532 where that is root, or with volumes */
    user: z
      .string()
      .regex(/^\d+:\d+$/, { error: 'a user is written as "uid:gid", in numbers' })
      .optional(),
  })
  .superRefine(({ host, socketPath, storage, destinationVolume, tls, ssh }, context) => {
    const tell = (path: string, message: string) => context.addIssue({ code: "custom", path: [path], message });
    // One that isn't known yet is looked at when it is.
    if (host !== undefined && !URL.canParse(host)) return;
    const scheme = host?.split(":")[0];
    if (host !== undefined && socketPath !== undefined)
      tell("socketPath", "an engine has one address\n  remedy: Leave socketPath or host out.");
    const isRemote = scheme === "tcp" || scheme === "ssh";
    if (isRemote && storage === "folders") {
      tell(
        "storage",
        'folders are of this machine, and the engine is on another\n  remedy: Leave storage out, or set it to "volumes".',
      );
    }
    if (destinationVolume !== undefined && !isRemote && storage !== "volumes") {
      tell(
        "destinationVolume",
        'with folders the destination is one\n  remedy: Set storage: "volumes", or leave destinationVolume out.',
      );
    }
    if (tls !== undefined && scheme !== "tcp")
      tell("tls", "tls is for an engine at tcp://host:port\n  remedy: Set host, or leave tls out.");
    if (ssh !== undefined && scheme !== "ssh")
      tell("ssh", "ssh is for an engine at ssh://user@host\n  remedy: Set host, or leave ssh out.");
  });
export type DockerOptions = z.infer<typeof dockerOptionsSchema>;

/** Pure: whether the engine's containers have volumes of the engine, not folders of this machine. */
export function usesVolumes({ storage, host }: Pick<DockerOptions, "storage" | "host">): boolean {
  return storage === undefined ? host !== undefined && !host.startsWith("unix:") : storage === "volumes";
}
