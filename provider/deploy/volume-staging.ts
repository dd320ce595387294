import type { VolumeInspectInfo } from "dockerode";
import { SluiceError } from "../../runtime/errors";
import { labels, volumeName } from "./container-spec";
import type { StagingFound, StagingPlace } from "./deployment";
import { ask, type Engine, find } from "./docker-engine";
import { ensureVolume, findVolume, isVolumeOf, removeVolume } from "./engine-volumes";

/** Staging logs in volumes of an engine, each with its owner in its labels. */
export function volumeStaging(engine: Engine): StagingPlace {
  const inspect = async (path: string) => ownerOf(await findVolume(engine, volumeName(path)), path);
  const remove = (path: string) => removeVolume(engine, volumeName(path), path);
  return {
    inspect,
    async make(path, owner) {
      const found = await inspect(path);
      if (found.kind === "foreign" || (found.kind === "owned" && found.owner.deploymentId !== owner.deploymentId)) {
        throw new SluiceError("staging", `the volume ${volumeName(path)} exists and isn't this gateway's staging`, {
          remedy: `Choose another stagingPath or deploymentId; or, if nothing needs what is in it, run docker volume rm ${volumeName(path)}.`,
        });
      }
      if (found.kind === "owned") await endReaders(engine, volumeName(path));
      await remove(path);
      const { deploymentId, incarnation } = owner;
      await ensureVolume(engine, volumeName(path), path, {
        [labels.deployment]: deploymentId,
        [labels.incarnation]: incarnation,
      });
    },
    async remove(path, owner) {
      const found = await inspect(path);
      if (found.kind === "free") return true;
      if (found.kind === "foreign" || found.owner.deploymentId !== owner.deploymentId) return false;
      return found.owner.incarnation === owner.incarnation && remove(path);
    },
  };
}

/** The applier of a staging log that is made anew ends first, as a volume that is used can't be removed. */
async function endReaders(engine: Engine, volume: string): Promise<void> {
  const users = await ask(engine, `looking who uses the volume ${volume}`, () =>
    engine.docker.listContainers({ all: true, filters: { volume: [volume], label: [`${labels.role}=applier`] } }),
  );
  for (const { Id, Names } of users) {
    const name = Names[0]?.slice(1);
    console.log(`the container ${name} ends, as its staging log is made anew`);
    await find(engine, `removing the container ${name}`, async () => {
      await engine.docker
        .getContainer(Id)
        .stop()
        .catch(() => {});
      await engine.docker.getContainer(Id).remove({ force: true, v: true });
    });
  }
}

/** Pure. */
function ownerOf(found: VolumeInspectInfo | null, path: string): StagingFound {
  if (found === null) return { kind: "free" };
  const { [labels.deployment]: deploymentId, [labels.incarnation]: incarnation } = found.Labels ?? {};
  if (!isVolumeOf(found, path) || deploymentId === undefined || incarnation === undefined) return { kind: "foreign" };
  return { kind: "owned", owner: { deploymentId, incarnation } };
}
