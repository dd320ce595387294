import { stringify } from "yaml";
import { version } from "../../runtime/version";
import { placedConfiguration, recordFile, renderRecord } from "./databricks-configuration";
import { digestOf } from "./databricks-names";
import { type ProcessSpec, renderConfiguration } from "./deployment";
import type { SecretOrigin } from "./secret-origin";

/** What is deployed, but for the runtime itself. */
export interface AppSource {
  /** by name, in the folder of the app's source */
  files: Record<string, string>;
  /** by the variable of the app that has it */
  secrets: Record<string, SecretOrigin>;
  /** of all that it is made of: another is another deployment */
  digest: string;
}

/** Pure but for certificates, which it reads: all that an app of this process is made of. @throws SluiceError `config` */
export function appSource(spec: ProcessSpec): AppSource {
  const { config, secrets } = placedConfiguration(spec, "app");
  const files = {
    "config.json": renderConfiguration(config),
    "app.yaml": stringify({
      command: ["node", "node_modules/pulumi-sluice/dist/runtime/main.js", "app", "--config", "config.json"],
      env: Object.keys(secrets)
        .sort()
        .map((name) => ({ name, valueFrom: resourceName(name) })),
    }),
    [recordFile]: renderRecord(spec),
  };
  return { files, secrets, digest: digestOf([files, version]) };
}

/** Pure: the app's resource that has a variable's secret: letters, digits and hyphens. */
export const resourceName = (variable: string) => variable.toLowerCase().replaceAll("_", "-");
