import { describeError, SluiceError } from "../../runtime/errors";
import type { Deployment, StagingLogFound } from "../deploy/deployment";
import type { DeploymentOf } from "../deploy/target";
import { tellCost } from "./change-cost";
import { known } from "./gateway-inputs";
import type { CheckFailure, Properties } from "./lifecycle";
import { printOnce } from "./own-names";
import { stagingPlace } from "./staging-input";
import { containsUnknown } from "./unknown-value";

/**
 * The staging log that an adoption goes on with; null where there is none, or its place isn't known yet.
 * @throws SluiceError `unsupported` where the target has one that it can't hand over: it would be emptied
 */
export async function logToAdopt(deployment: Deployment, inputs: Properties) {
  const { stagingPath, deploymentId } = inputs;
  if (!known(stagingPath) || !known(deploymentId)) return null;
  const found = await stagingPlace(inputs, deployment).inspect(stagingPath, deploymentId);
  if (found.kind === "free") return null;
  if (found.log === undefined && found.kind === "owned" && !deployment.isHere) {
    throw new SluiceError("unsupported", `the staging of ${deploymentId} isn't in a folder, and can't be taken over`, {
      remedy: "Leave adopt out and choose another deploymentId: all tables are copied.",
    });
  }
  return found.log ?? null;
}

/** Of a gateway that is to go on with the staging of one that no stack knows any more. */
export async function tellAdoption(deploymentOf: DeploymentOf, inputs: Properties): Promise<CheckFailure[]> {
  const { deploymentId, stagingPath, deployment, preflight } = inputs;
  const isAsked = preflight === "preview" && !containsUnknown(deployment);
  let log: StagingLogFound | null;
  try {
    log = isAsked ? await logToAdopt(deploymentOf(deployment), inputs) : null;
  } catch (error) {
    return [{ property: "adopt", reason: describeError(error) }];
  }
  tellCost("Gateway", deploymentId, log === null ? null : {}, inputs, [{ input: "adopt", effect: "none" }]);
  if (!isAsked || !known(stagingPath)) return [];
  printOnce(
    log === null
      ? `warning: Gateway ${deploymentId}: there is no staging in ${stagingPath} to take over; all tables are copied`
      : `Gateway ${deploymentId}: goes on with the staging in ${stagingPath}; a table that it doesn't have whole is copied`,
  );
  return [];
}
