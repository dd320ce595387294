import { z } from "zod";
import { SluiceError } from "../../runtime/errors";
import type { ProcessSpec } from "../deploy/deployment";
import { stagingClaim } from "../deploy/kubernetes-claims";
import type { ClusterObject } from "../deploy/kubernetes-object";
import { processObjects } from "../deploy/kubernetes-objects";
import { type KubernetesOptions, kubernetesOptionsSchema } from "../deploy/kubernetes-options";
import { applierSpec } from "../lifecycle/applier-process";
import { gatewaySpec } from "../lifecycle/gateway";
import { checkGatewayInputs } from "../lifecycle/gateway-inputs";
import { checkIngestionPipelineInputs } from "../lifecycle/ingestion-pipeline-inputs";
import { renderPath } from "../lifecycle/input-check";
import type { CheckResult, Properties } from "../lifecycle/lifecycle";
import { isInVolume } from "../lifecycle/staging-input";

const settings = z.record(z.string(), z.unknown());

/** Inputs of `PostgresIngestion` that its two processes are made of. */
const inputSchema = z.strictObject({
  source: z.unknown().optional(),
  publicationName: z.unknown().optional(),
  slotName: z.unknown().optional(),
  /** default: the slot's name */
  deploymentId: z.unknown().optional(),
  stateDir: z.unknown().optional(),
  destination: z.unknown().optional(),
  tableOptions: z.unknown().optional(),
  deployment: kubernetesOptionsSchema,
  gateway: settings.optional(),
  applier: settings.optional(),
});

/** Names of inputs that a stack's outputs may have. */
const outputNames = ["source", "publicationName", "slotName", "deploymentId"] as const;

/**
 * Pure: the objects of both processes, as the Kubernetes target applies them, without any Secret's content.
 * @param outputs of a stack: what of them has the name of an input that isn't given is taken for it
 * @throws SluiceError `config` with everything that is wrong
 */
export function manifestObjects(given: unknown, outputs: Properties = {}): ClusterObject[] {
  const stacks = outputNames.filter((name) => outputs[name] !== undefined).map((name) => [name, outputs[name]]);
  const filled = typeof given === "object" && given !== null ? { ...Object.fromEntries(stacks), ...given } : given;
  const parsed = inputSchema.safeParse(filled);
  if (!parsed.success) {
    throw wrong(parsed.error.issues.map(({ path, message }) => ({ property: renderPath(path), reason: message })));
  }
  const { deployment, gateway, applier, destination, tableOptions, ...shared } = parsed.data;
  const { source, publicationName, slotName, ...common } = shared;
  const captured = checkGatewayInputs(
    {},
    // The slot is what it is: nothing is replaced by a manifest.
    {
      source,
      publicationName,
      slotName,
      slotIncarnation: "given",
      ...common,
      beforeImages: imaged(tableOptions),
      ...gateway,
    },
  );
  const { deploymentId, stagingPath, stateDir } = captured.inputs;
  const applied = checkIngestionPipelineInputs({
    deploymentId,
    stagingPath,
    staging: captured.inputs.staging,
    stateDir,
    stagingIncarnation: "given",
    destination,
    tableOptions,
    ...applier,
  });
  const failures = [captured, applied].flatMap((result: CheckResult) => result.failures);
  if (failures.length > 0) throw wrong(unique(failures));
  const specs = [gatewaySpec(captured.inputs), applierSpec(applied.inputs)];
  return [
    ...(isInVolume(captured.inputs)
      ? []
      : [stagingClaim(stagingPath as string, deploymentId as string, null, deployment)]),
    ...specs.flatMap((spec) => objectsOf(spec, deployment)),
  ];
}

function objectsOf(spec: ProcessSpec, options: KubernetesOptions): ClusterObject[] {
  const { objects, secret, configuration } = processObjects(spec, options);
  if (secret === null || !secret.isOurs) return objects;
  const keys = Object.keys(configuration.secrets).sort().join(", ");
  throw new SluiceError("config", "a manifest holds no secret, and none is named that does", {
    remedy: `Make a Secret of the namespace ${options.namespace} with the keys ${keys}, and name it: deployment.existingSecret.`,
  });
}

function imaged(tableOptions: unknown): unknown[] {
  if (!Array.isArray(tableOptions)) return [];
  return tableOptions.filter((one) => one?.beforeImage === true).map((one) => one.table);
}

const unique = (failures: CheckResult["failures"]) =>
  failures.filter(
    ({ property, reason }, index) =>
      failures.findIndex((other) => other.property === property && other.reason === reason) === index,
  );

function wrong(failures: CheckResult["failures"]): SluiceError {
  const lines = failures.map(({ property, reason }) => `\n  ${property}: ${reason.replaceAll("\n", "\n  ")}`);
  return new SluiceError("config", `sluice manifests: the inputs are wrong${lines.join("")}`, {
    remedy: "Correct them; sluice manifests --help shows which there are.",
  });
}
