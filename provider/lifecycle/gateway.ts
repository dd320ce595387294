import { join } from "node:path";
import type { SourceConfig, TypeOptions } from "../../runtime/config";
import type { Applied, Deployment, ProcessSpec, StagingOwner } from "../deploy/deployment";
import { processFiles } from "../deploy/process-files";
import { deploymentFolder, isSameOwner, removeIfEmpty, stagingTaken } from "../deploy/staging-folder";
import type { DeploymentOf } from "../deploy/target";
import { withCheck } from "../postgres/admin-session";
import { readPublishedSizes } from "../postgres/table-size";
import { copiesOf, needsSizes, tellCost } from "./change-cost";
import { type Change, isReplacing, same } from "./comparison";
import { pick } from "./connection";
import { logToAdopt, tellAdoption } from "./gateway-adoption";
import {
  checkGatewayInputs,
  diffGateway,
  gatewayChanges,
  known,
  shape,
  sharedPlaces,
  withOptions,
} from "./gateway-inputs";
import { awaitCaughtUp, switchTimeoutMsDefault } from "./gateway-switch";
import { type Lifecycle, PartialFailure, type Properties } from "./lifecycle";
import { isOwn, printOnce, rememberOwn } from "./own-names";
import { processProperties, soundProcess, tellVersion } from "./process-drift";
import { runtimeSource, secretVariables } from "./source-input";
import { checkVolume, isInVolume, stagingConfig, stagingPlace, stagingVariables } from "./staging-input";
import {
  applyOrRestore,
  checkPlace,
  checkTarget,
  clearLeftover,
  type Placed,
  parseConfiguration,
  processDrift,
  undone,
} from "./supervised-process";
import { containsUnknown } from "./unknown-value";

/** What a preview says of the order, remembered for the check of the new one, which doesn't see the old one. */
function tellOrder(olds: Properties, inputs: Properties): void {
  const { deleteBeforeReplace } = diffGateway(olds, inputs);
  const shared = sharedPlaces(olds, inputs);
  const why = shared.length === 0 ? 'strategy is "stop-first"' : `both have the same ${shared.join(", ")}`;
  printOnce(
    deleteBeforeReplace
      ? `Gateway ${olds.deploymentId}: stopped before the new one is made, as ${why}; the tables stay readable as they were meanwhile`
      : `Gateway ${olds.deploymentId}: goes on until the new one has copied all tables and caught up; then the pipeline is switched, and it is removed`,
  );
  if (!deleteBeforeReplace) rememberOwn("switch", String(inputs.slotIncarnation));
}

/** Makes the staging folder, or takes it over; returns what a failed create undoes, which leaves what it hasn't made. */
async function prepareStaging(deployment: Deployment, inputs: Properties): Promise<() => Promise<void>> {
  const log = inputs.adopt === true ? await logToAdopt(deployment, inputs) : null;
  if (log === null) {
    await stagingPlace(inputs, deployment).make(inputs.stagingPath as string, ownerOf(inputs));
    return () => removeAll(deployment, inputs);
  }
  const restore = await log.adopt(ownerOf(inputs));
  return async () => {
    const { directory, stopTimeoutMs } = gatewaySpec(inputs);
    await deployment.remove(directory, stopTimeoutMs);
    await restore();
  };
}

/** Sizes of the tables that these changes copy again; undefined where the source isn't asked, or doesn't tell. */
async function copiesAtCheck(changes: readonly Change[], olds: Properties, inputs: Properties) {
  const known = pick(inputs, ["source", "publicationName"]);
  if (!needsSizes(changes) || inputs.preflight !== "preview" || containsUnknown(known)) return undefined;
  const publication = inputs.publicationName as string;
  try {
    const sizes = await withCheck(inputs.source as SourceConfig, "estimating the tables' sizes", (client) =>
      readPublishedSizes(client, publication),
    );
    const before = withOptions(olds).types as Properties | undefined;
    const isChanged = (option: keyof TypeOptions) => !same(before?.[option], (inputs.types as Properties)[option]);
    // A publication that isn't there yet has no tables to tell.
    if (sizes.length === 0) return undefined;
    const isKept = changes.every(({ effect }) => effect !== "newStaging" && effect !== "newSlot");
    if (!isKept || isChanged("unrepresentable")) return copiesOf(sizes);
    return copiesOf(
      sizes.filter(
        (size) =>
          (size.hasUnconstrainedNumeric && isChanged("unconstrainedNumeric")) || (size.hasArray && isChanged("arrays")),
      ),
    );
  } catch {
    // What is wrong with the source is told by its Connection.
    return undefined;
  }
}

/** Inputs that are parts of the configuration by their names. */
const configKeys = [
  "batch",
  "spool",
  "snapshot",
  "types",
  "beforeImages",
  "schemaChanges",
  "pollMs",
  "silenceMsMax",
  "onSlotLost",
  "heartbeatMs",
  "health",
];

/** The process as these inputs want it. */
export function gatewaySpec(inputs: Properties): ProcessSpec {
  const directory = join(folderOf(inputs), "gateway");
  const given = inputs.source as SourceConfig;
  const { source, secretFiles } = runtimeSource(given, directory);
  return {
    directory,
    config: {
      version: 1,
      role: "gateway",
      id: inputs.deploymentId as string,
      statusPath: join(directory, processFiles.status),
      http: { port: (inputs.httpPort as number | undefined) ?? 0 },
      source,
      publication: inputs.publicationName as string,
      slot: inputs.slotName as string,
      stagingPath: inputs.stagingPath as string,
      ...stagingConfig(inputs, directory),
      ...pick(inputs, configKeys),
    },
    secretVariables: [...secretVariables(given), ...stagingVariables(inputs)],
    secretFiles,
    startTimeoutMs: inputs.startTimeoutMs as number,
    stopTimeoutMs: inputs.stopTimeoutMs as number,
  };
}

const folderOf = (inputs: Properties) => deploymentFolder(inputs.stateDir as string, inputs.deploymentId as string);

const ownerOf = (inputs: Properties): StagingOwner => ({
  deploymentId: inputs.deploymentId as string,
  incarnation: inputs.incarnation as string,
});

function outputs(inputs: Properties, applied: Applied): Properties {
  return { ...inputs, statusPath: gatewaySpec(inputs).config.statusPath, ...soundProcess, ...applied, drift: [] };
}

export function gatewayLifecycle(deploymentOf: DeploymentOf): Lifecycle {
  const placed = (props: Properties): Placed => ({
    spec: gatewaySpec(props),
    target: props.deployment,
    deployment: deploymentOf(props.deployment),
  });
  return {
    async check(olds, news) {
      const result = checkGatewayInputs(olds, news);
      const { inputs, failures } = result;
      const existing = olds.incarnation !== undefined;
      if (known(olds.stagingPath)) rememberOwn("staging", olds.stagingPath);
      const keys = Object.keys(shape);
      if (failures.length === 0) {
        const changes = existing ? gatewayChanges(olds, inputs) : [];
        const copies = await copiesAtCheck(changes, olds, inputs);
        if (!existing && inputs.adopt === true) failures.push(...(await tellAdoption(deploymentOf, inputs)));
        else tellCost("Gateway", inputs.deploymentId, existing ? olds : null, inputs, changes, copies);
        if (existing && isReplacing(changes)) tellOrder(olds, inputs);
      }
      if (failures.length > 0 || (existing && same(pick(olds, keys), pick(inputs, keys)))) return result;
      const given =
        news.staging !== undefined ? "staging" : news.stagingPath === undefined ? "stateDir" : "stagingPath";
      const folders = [{ property: "stateDir", path: inputs.stateDir }];
      if (given !== "stateDir" && !isInVolume(inputs)) folders.push({ property: given, path: inputs.stagingPath });
      failures.push(...(await checkPlace(deploymentOf, olds, inputs, folders)));
      if (failures.length === 0) failures.push(...(await checkTarget(deploymentOf, inputs, gatewaySpec)));
      if (inputs.preflight === "preview") failures.push(...(await checkVolume(inputs)));
      if (failures.length > 0 || inputs.preflight !== "preview" || containsUnknown(inputs)) return result;
      if (existing || !known(inputs.stagingPath) || isOwn("staging", inputs.stagingPath)) return result;
      const staging = stagingPlace(inputs, deploymentOf(inputs.deployment));
      const found = await staging.inspect(inputs.stagingPath, inputs.deploymentId as string);
      if (inputs.adopt === true && found.kind !== "free" && found.log !== undefined) return result;
      if (found.kind === "free" || (found.kind === "owned" && found.owner.deploymentId === inputs.deploymentId)) {
        return result;
      }
      failures.push({ property: given, reason: stagingTaken(inputs.stagingPath).describe() });
      return result;
    },

    diff(_id, olds, news) {
      tellVersion("Gateway", olds);
      return diffGateway(olds, news);
    },

    async create(inputs) {
      const spec = gatewaySpec(inputs);
      const deployment = deploymentOf(inputs.deployment);
      await clearLeftover(deployment, spec, (config) => config.role === "gateway" && isSameSlot(config, inputs));
      const undo = await prepareStaging(deployment, inputs);
      let applied: Applied;
      try {
        applied = await deployment.apply(spec, { tethered: true });
      } catch (error) {
        throw await undone(error, undo);
      }
      try {
        return { id: inputs.deploymentId as string, outs: await takeOver(deployment, inputs, applied) };
      } finally {
        await deployment.keep(spec.directory);
      }
    },

    async read(id, props) {
      const deployment = deploymentOf(props.deployment);
      const place = stagingPlace(props, deployment);
      const staging = await place.inspect(props.stagingPath as string, props.deploymentId as string);
      // Without its staging a gateway has nothing to go on from: it is made anew, with new snapshots.
      if (staging.kind !== "owned" || !isSameOwner(staging.owner, ownerOf(props))) return { id: "" };
      const spec = gatewaySpec(props);
      const found = await deployment.inspect(spec.directory);
      const { settings, facts } = processProperties(found, props, configKeys);
      const now = { ...props, ...settings };
      return {
        id,
        props: { ...now, ...facts, drift: processDrift(found, spec) },
        inputs: pick(now, [...Object.keys(shape), "incarnation", "takesOver", "changeCost"]),
      };
    },

    async update(_id, olds, news) {
      const [wanted, before] = [placed(news), placed(olds)];
      const applied = await applyOrRestore(wanted, before);
      if (olds.hasTakenOver === false) return { outs: await takeOver(wanted.deployment, news, applied) };
      return { outs: { ...outputs(news, applied), ...pick(olds, ["hasTakenOver"]) } };
    },

    /** The gateway stages and acknowledges what it has, then ends; its staging goes with it. */
    async delete(_id, props) {
      await removeAll(deploymentOf(props.deployment), props);
    },
  };
}

/** One that takes over from another is done when it has caught up. Until then it stays as it is, and may be waited for anew. */
async function takeOver(deployment: Deployment, inputs: Properties, applied: Applied): Promise<Properties> {
  const outs = outputs(inputs, applied);
  if (inputs.takesOver !== true) return outs;
  const timeoutMs = (inputs.switchTimeoutMs as number | undefined) ?? switchTimeoutMsDefault;
  try {
    await awaitCaughtUp(deployment, gatewaySpec(inputs), inputs.source as SourceConfig, timeoutMs);
  } catch (error) {
    throw new PartialFailure(error, inputs.deploymentId as string, { ...outs, hasTakenOver: false });
  }
  return { ...outs, hasTakenOver: true };
}

function isSameSlot(
  config: { source: Pick<SourceConfig, "host" | "port" | "database">; slot: string },
  inputs: Properties,
): boolean {
  const { host, port, database } = inputs.source as SourceConfig;
  const { source, slot } = config;
  return source.host === host && source.port === port && source.database === database && slot === inputs.slotName;
}

/** An engine that is told to replace a gateway (`pulumi up --replace`) asks no diff: the new one is made where the old one is. */
function isSuccessor(found: StagingOwner, own: StagingOwner): boolean {
  return found.deploymentId === own.deploymentId && !isSameOwner(found, own);
}

function readsStaging(configuration: string, stagingPath: string): boolean {
  const config = parseConfiguration(configuration);
  return config?.role === "applier" && config.stagingPath === stagingPath;
}

async function removeAll(deployment: Deployment, props: Properties): Promise<void> {
  const { directory, stopTimeoutMs } = gatewaySpec(props);
  const stagingPath = props.stagingPath as string;
  const staging = await stagingPlace(props, deployment).inspect(stagingPath, props.deploymentId as string);
  if (staging.kind === "owned" && isSuccessor(staging.owner, ownerOf(props))) {
    console.log(`Gateway ${props.deploymentId}: another one was made in its place, and goes on`);
    return;
  }
  // An update of the pipeline that was interrupted may have left an applier of this staging, which nothing else knows.
  const reader = join(folderOf(props), "applier");
  const found = await deployment.inspect(reader);
  if ("configuration" in found && readsStaging(found.configuration, stagingPath)) {
    await deployment.remove(reader, stopTimeoutMs);
  }
  await deployment.remove(directory, stopTimeoutMs);
  if (!(await stagingPlace(props, deployment).remove(stagingPath, ownerOf(props)))) {
    console.log(`warning: the staging ${stagingPath} isn't this stack's any more and is left alone`);
  }
  if (deployment.isHere) removeIfEmpty(folderOf(props));
  // What a create has left that was killed: no resource knows it.
  await deployment.sweep(props.stateDir as string, stopTimeoutMs);
}
