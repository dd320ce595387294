import type { Applied, Deployment, ProcessSpec } from "../deploy/deployment";
import { removeIfEmpty } from "../deploy/staging-folder";
import type { DropTables } from "../deploy/table-drop";
import { type DeploymentOf, findDropObstacle } from "../deploy/target";
import { applierConfigKeys, applierSpec, pipelineFolder } from "./applier-process";
import { same } from "./comparison";
import { pick } from "./connection";
import { formerLogsOf, LogHandover } from "./former-logs";
import {
  checkIngestionPipelineInputs,
  type Destination,
  diffIngestionPipeline,
  shape,
  tellDelete,
  tellPipelineCost,
} from "./ingestion-pipeline-inputs";
import type { Lifecycle, Properties } from "./lifecycle";
import { processProperties, soundProcess, tellVersion } from "./process-drift";
import {
  applyOrRestore,
  checkPlace,
  checkTarget,
  clearLeftover,
  type Placed,
  processDrift,
  undone,
} from "./supervised-process";
import { followedTableChanges, leavingTables, refusedTableChanges } from "./table-options";
import { containsUnknown } from "./unknown-value";
import { locationOf, warehouseObstacles } from "./warehouse-destination";

function outputs(inputs: Properties, applied: Applied, formerLogs: string[]): Properties {
  const { statusPath } = applierSpec(inputs).config;
  const destinationPath = locationOf(inputs.destination as Destination);
  const remembered = formerLogs.length === 0 ? {} : { formerLogs };
  return { ...inputs, statusPath, destinationPath, ...soundProcess, ...applied, drift: [], ...remembered };
}

export function ingestionPipelineLifecycle(deploymentOf: DeploymentOf, drop?: DropTables): Lifecycle {
  /**
   * Deployments that the program of this run still has: it is only asked about these. A delete of one is part of a
   * replacement, of which an engine tells nothing.
   */
  const declared = new Set<string>();
  const declare = (props: Properties) => {
    const { stateDir, deploymentId } = props;
    if (typeof stateDir === "string" && typeof deploymentId === "string") declared.add(pipelineFolder(props));
  };
  /** Folders in which this run has made a pipeline in the place of the one that was there (`pulumi up --replace`). */
  const taken = new Set<string>();
  const handover = new LogHandover();
  const placed = (props: Properties): Placed => ({
    spec: applierSpec(props),
    target: props.deployment,
    deployment: deploymentOf(props.deployment),
  });
  return {
    async check(olds, news) {
      declare(olds);
      declare(news);
      const result = checkIngestionPipelineInputs(news, olds);
      const { inputs, failures } = result;
      failures.push(...refusedTableChanges(olds, inputs));
      for (const line of [...followedTableChanges(olds, inputs), ...leavingTables(olds, inputs)]) console.log(line);
      const keys = Object.keys(shape).filter((key) => key !== "origin");
      const existing = olds.stagingIncarnation !== undefined;
      if (failures.length === 0) tellPipelineCost(existing ? olds : null, inputs);
      if (failures.length === 0) tellDelete(olds, inputs);
      const unchanged = existing && same(pick(olds, keys), pick(inputs, keys));
      if (failures.length > 0 || unchanged) return result;
      failures.push(...warehouseObstacles(inputs));
      const destination = inputs.destination as { kind?: unknown; path?: unknown } | undefined;
      const folders = [
        { property: "stateDir", path: inputs.stateDir },
        ...(destination?.kind === "databricks" ? [] : [{ property: "destination.path", path: destination?.path }]),
      ];
      failures.push(...(await checkPlace(deploymentOf, olds, inputs, folders)));
      // Those of a warehouse are dropped by it.
      if (inputs.onDelete === "drop" && destination?.kind === "local" && !containsUnknown(inputs.deployment)) {
        const reason = findDropObstacle(inputs.deployment, process.geteuid?.());
        if (reason !== null) failures.push({ property: "onDelete", reason });
      }
      if (failures.length === 0) failures.push(...(await checkTarget(deploymentOf, inputs, applierSpec)));
      return result;
    },

    diff(_id, olds, news) {
      declare(olds);
      tellVersion("IngestionPipeline", olds);
      return diffIngestionPipeline(olds, news);
    },

    async create(inputs) {
      const spec = applierSpec(inputs);
      const deployment = deploymentOf(inputs.deployment);
      const isOurs = (config: { role: string; stagingPath: string }) =>
        config.role === "applier" && config.stagingPath === inputs.stagingPath;
      const wasThere = await clearLeftover(deployment, spec, isOurs);
      try {
        const applied = await deployment.apply(spec);
        if (wasThere) taken.add(spec.directory);
        return { id: inputs.deploymentId as string, outs: outputs(inputs, applied, handover.take(inputs)) };
      } catch (error) {
        throw await undone(error, () => remove(deployment, inputs));
      }
    },

    async read(id, props) {
      const spec = applierSpec(props);
      const found = await deploymentOf(props.deployment).inspect(spec.directory);
      const { settings, facts } = processProperties(found, props, applierConfigKeys);
      const now = { ...props, ...settings };
      return {
        id,
        props: { ...now, ...facts, drift: processDrift(found, spec) },
        inputs: pick(now, [...Object.keys(shape), "changeCost"]),
      };
    },

    async update(_id, olds, news) {
      // Read before anything can take the former staging away.
      const formerLogs = await formerLogsOf(deploymentOf(olds.deployment), olds, news);
      const applied = await applyOrRestore(placed(news), placed(olds));
      if (pipelineFolder(olds) !== pipelineFolder(news)) removeFolderHere(deploymentOf(olds.deployment), olds);
      return { outs: outputs(news, applied, formerLogs) };
    },

    /** Stops the process. The tables stay, or by `onDelete` those that it made go, unless it is replaced. */
    async delete(_id, props) {
      if (taken.delete(applierSpec(props).directory)) {
        console.log(`IngestionPipeline ${props.deploymentId}: another one was made in its place, and goes on`);
        return;
      }
      const deployment = deploymentOf(props.deployment);
      const isReplaced = declared.has(pipelineFolder(props));
      if (isReplaced) await handover.leave(deployment, props);
      await remove(deployment, props);
      if (props.onDelete !== "drop") return;
      if (isReplaced) {
        console.log(`IngestionPipeline ${props.deploymentId}: is replaced, its Delta tables stay`);
        return;
      }
      const spec = applierSpec(props);
      const { formerLogs } = props as { formerLogs?: string[] };
      // A property of the drop alone: no process has it.
      const config = { ...spec.config, ...(formerLogs === undefined ? {} : { formerLogs }) };
      await (drop ?? deployment.dropTables)({ ...spec, config } as ProcessSpec);
      removeFolderHere(deployment, props);
    },
  };
}

async function remove(deployment: Deployment, props: Properties): Promise<void> {
  const { directory, stopTimeoutMs } = applierSpec(props);
  await deployment.remove(directory, stopTimeoutMs);
  removeFolderHere(deployment, props);
}

function removeFolderHere(deployment: Deployment, props: Properties): void {
  if (deployment.isHere) removeIfEmpty(pipelineFolder(props));
}
