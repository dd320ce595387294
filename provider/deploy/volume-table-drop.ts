import { workFolder } from "../../runtime/config";
import { framedText } from "./container-health";
import { containerConfiguration, volumeMount, volumesOf } from "./container-spec";
import type { ProcessSpec } from "./deployment";
import { ask, type Engine } from "./docker-engine";
import { resolveImage } from "./docker-image";
import type { DockerOptions } from "./docker-options";
import { findVolume, removeVolume } from "./engine-volumes";
import { withFilesContainer } from "./files-container";
import { processFiles } from "./process-files";
import { dropFailure } from "./table-drop";
import { isEmptyFolder, privateFile, putFiles } from "./volume-archive";
import { ownerOf, ownerText } from "./volume-owner";

/**
 * Drops the tables in an engine's volume, by a container that has it as the applier had, and ends. A volume of ours goes
 * too, when nothing is left in it.
 */
export async function dropInVolumes(engine: Engine, options: DockerOptions, spec: ProcessSpec): Promise<void> {
  const { directory, config } = spec;
  if (config.role !== "applier") return;
  const volumes: ReturnType<typeof volumesOf> = [];
  for (const volume of volumesOf(spec, options)) {
    if (volume.path !== directory && (await findVolume(engine, volume.name)) !== null) volumes.push(volume);
  }
  const lake = volumes.find(({ path }) => path === workFolder(config));
  if (lake === undefined) return;
  const image = await resolveImage(engine, options);
  const made = {
    Image: image.id,
    User: ownerText(ownerOf(options)),
    Cmd: ["drop-tables", "--yes"],
    Env: [`SLUICE_CONFIG=${directory}/${processFiles.configuration}`],
    HostConfig: {
      NetworkMode: "none",
      CapDrop: ["ALL"],
      SecurityOpt: ["no-new-privileges:true"],
      Init: true,
      Mounts: volumes.map(volumeMount),
    },
  };
  const isDone = await withFilesContainer(engine, directory, made, async (container) => {
    await run(engine, options, spec, container);
    return lake.isOurs && (await isEmptyFolder(engine, container, lake.path));
  });
  if (isDone) await removeVolume(engine, lake.name, lake.path);
}

async function run(engine: Engine, options: DockerOptions, spec: ProcessSpec, id: string): Promise<void> {
  const path = spec.directory.slice(1);
  const files = [
    { name: `${path}/`, content: null, mode: 0o700 },
    privateFile(`${path}/${processFiles.configuration}`, containerConfiguration(spec, options)),
  ];
  await putFiles(engine, id, "/", files, ownerOf(options));
  const container = engine.docker.getContainer(id);
  const { StatusCode: code } = await ask(engine, `dropping the tables of ${spec.config.id}`, async () => {
    await container.start();
    return (await container.wait()) as { StatusCode: number };
  });
  const lines = async (of: { stdout?: boolean; stderr?: boolean }) => {
    const log = await ask(engine, "reading the container's log", () => container.logs({ ...of, follow: false }));
    return framedText(log)
      .split("\n")
      .filter((line) => line !== "");
  };
  for (const line of await lines({ stdout: true })) console.log(line);
  if (code !== 0) throw dropFailure(await lines({ stderr: true }), `exit ${code}`);
}
