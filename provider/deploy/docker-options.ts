import { isAbsolute } from "node:path";
import { z } from "zod";

/** Labels with this prefix are ours: they tell our containers from all others. */
export const labelPrefix = "com.pulumi-sluice.";

/** Settings of the Docker target. */
export const dockerOptionsSchema = z.strictObject({
  kind: z.literal("docker"),
  /** the engine's socket; default: that of `DOCKER_HOST`, else /var/run/docker.sock */
  socketPath: z
    .string()
    .refine((path) => isAbsolute(path), { error: "a socket's path must be absolute" })
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
  /** `uid:gid` of the process; default: whoever runs Pulumi, or 65532:65532 where that is root */
  user: z
    .string()
    .regex(/^\d+:\d+$/, { error: 'a user is written as "uid:gid", in numbers' })
    .optional(),
});
export type DockerOptions = z.infer<typeof dockerOptionsSchema>;
