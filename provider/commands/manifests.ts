import { readFileSync } from "node:fs";
import { parse } from "yaml";
import { describeError, SluiceError } from "../../runtime/errors";
import { manifestText } from "../deploy/kubernetes-yaml";
import type { Properties } from "../lifecycle/lifecycle";
import { type Command, parseOptions, print, printJson } from "./command";
import { manifestObjects } from "./manifests-input";

export const manifests: Command = {
  name: "manifests",
  summary: "gateway and applier as Kubernetes manifests, for GitOps",
  usage: `sluice manifests: the Kubernetes objects of gateway and applier as YAML, as the Kubernetes target applies them

  --file FILE            inputs of PostgresIngestion, as JSON or YAML; - reads standard input
  --stack-outputs FILE   what pulumi stack output --json wrote: source, publicationName, slotName and deploymentId
                         that the inputs lack
  --json                 one line of JSON: a List

The inputs: source, publicationName, slotName, deploymentId (default: the slot's name), stateDir, destination,
tableOptions, gateway and applier as PostgresIngestion has them, and deployment: { kind: "kubernetes", namespace, … }.
Nothing is asked of a cluster, and no secret is printed: deployment.existingSecret names the Secret that has them.
Publication and slot must exist: a stack with Connection, Publication and ReplicationSlot makes them.
`,
  async run(argv) {
    const options = { file: { type: "string" }, "stack-outputs": { type: "string" } } as const;
    const values = parseOptions("manifests", argv, options);
    if (values.file === undefined) {
      throw new SluiceError("config", "sluice manifests: --file is missing", {
        remedy: "See sluice manifests --help.",
      });
    }
    const outputs = values["stack-outputs"] === undefined ? {} : read(values["stack-outputs"]);
    if (typeof outputs !== "object" || outputs === null || Array.isArray(outputs)) {
      throw unusable(values["stack-outputs"] as string, "it is no object");
    }
    const objects = manifestObjects(read(values.file), outputs as Properties);
    if (values.json === true) printJson({ apiVersion: "v1", kind: "List", items: objects });
    else print(manifestText(objects));
    return 0;
  },
};

/** JSON is YAML. The text is never repeated: it may hold what is nobody's business. */
function read(file: string): unknown {
  let text: string;
  try {
    text = readFileSync(file === "-" ? 0 : file, "utf8");
  } catch (cause) {
    throw unusable(file, describeError(cause));
  }
  try {
    return parse(text, { prettyErrors: false });
  } catch {
    throw unusable(file, "it is neither JSON nor YAML");
  }
}

const unusable = (file: string, reason: string) =>
  new SluiceError("config", `sluice manifests: ${file} can't be used: ${reason}`, {
    remedy: "See sluice manifests --help.",
  });
