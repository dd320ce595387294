import { existsSync } from "node:fs";
import { join } from "node:path";
import { SluiceError } from "../../runtime/errors";
import { defaultOwner, secretsOf, writeConfiguration, writeSecrets } from "./container-folders";
import { filesRead } from "./container-spec";
import type { ContainerStorage, User } from "./container-storage";
import { ask, type Engine } from "./docker-engine";
import type { DockerOptions } from "./docker-options";
import { prepareFolders } from "./owned-folders";
import { pruneSecrets } from "./private-files";
import { processFiles, readSecretDigests, readStatus, readText, removeProcessFolder } from "./process-files";
import { stagingFolders } from "./staging-folder";
import { dropTables } from "./table-drop";
import { sweepAbandoned, tether, untether } from "./tether";

/** A container can't see the provider: it doesn't end by itself, as a process does, but is swept. */
export const containerTether = "container-tether.json";

/** Folders of this machine, bound at the paths that they have here. */
export function folderStorage(engine: Engine, options: DockerOptions): ContainerStorage {
  return {
    isHere: true,
    staging: stagingFolders,
    user: () => userOf(engine, options),
    check: async () => {},
    secretsOf,
    async prepare(spec, _imageId, user) {
      for (const path of filesRead(spec)) {
        if (existsSync(path)) continue;
        throw new SluiceError("config", `there is no file ${path}, which the container is to read`, {
          remedy:
            "Put the file there, on the machine that runs Pulumi, or correct the setting of source that names it.",
        });
      }
      prepareFolders(spec, user.outside);
    },
    read: async (directory) =>
      existsSync(directory)
        ? {
            configuration: readText(join(directory, processFiles.configuration)),
            status: readStatus(directory),
            secretDigests: readSecretDigests(directory),
          }
        : null,
    async write(directory, _container, { configuration, secrets }, { outside }) {
      writeSecrets(directory, secrets, outside);
      if (configuration !== undefined) writeConfiguration(directory, configuration, outside);
    },
    prune: async (directory, _container, secrets) => pruneSecrets(directory, secrets),
    remove: async (directory) => removeProcessFolder(directory),
    tie: async (directory) => tether(directory, containerTether),
    untie: async (directory) => untether(directory, containerTether),
    sweep: (stateDir, end) => sweepAbandoned(stateDir, end, containerTether),
    dropTables: (spec) => dropTables(spec),
  };
}

/** A rootless engine shows its own user as root; one that maps users is asked not to, as folders are this machine's. */
async function userOf(engine: Engine, { user }: DockerOptions): Promise<User> {
  const info = await ask(engine, "asking the container engine what it is", () => engine.docker.info());
  const security = (info.SecurityOptions ?? []) as string[];
  const has = (name: string) => security.some((option) => option.split(",").includes(`name=${name}`));
  const [uid, gid] = (user ?? "").split(":").map(Number);
  const outside = user === undefined ? defaultOwner() : { uid, gid };
  const inside = has("rootless") && user === undefined ? { uid: 0, gid: 0 } : outside;
  return { inside, outside, mapsUsers: has("userns") };
}
