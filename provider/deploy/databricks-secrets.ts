import { basename } from "node:path";
import { SluiceError } from "../../runtime/errors";
import { type Host, placedConfiguration } from "./databricks-configuration";
import { processName } from "./databricks-names";
import type { DatabricksOptions } from "./databricks-options";
import type { WorkspaceApi } from "./databricks-workspace-api";
import type { ProcessSpec } from "./deployment";
import { type SecretOrigin, secretContent } from "./secret-origin";

/** Where a process's variable has its content from. */
export interface PlacedSecret {
  variable: string;
  scope: string;
  key: string;
}

type Secrets = Record<string, SecretOrigin>;

/** Puts the variables' secrets into a scope of ours, unless they are in one of the user's. */
export async function putSecrets(
  api: WorkspaceApi,
  { secretScope }: DatabricksOptions,
  spec: ProcessSpec,
  secrets: Secrets,
  host: Host,
): Promise<PlacedSecret[]> {
  const scope = secretScope ?? processName(spec.directory);
  const variables = Object.keys(secrets).sort();
  if (secretScope === undefined && variables.length > 0) {
    const contents = secretContents(spec, secrets, host);
    await api.makeScope(scope);
    for (const variable of variables) await api.putSecret(scope, variable, contents[variable]);
  }
  return placedSecrets({ secretScope }, spec.directory, secrets);
}

/** Pure. @throws SluiceError `config` */
export function placedSecrets(
  { secretScope }: Pick<DatabricksOptions, "secretScope">,
  directory: string,
  secrets: Secrets,
): PlacedSecret[] {
  const scope = secretScope ?? processName(directory);
  return Object.keys(secrets)
    .sort()
    .map((variable) => ({
      variable,
      scope,
      key: secretScope === undefined ? variable : keyInScope(scope, secrets[variable]),
    }));
}

/** Whether all that a process needs is there. @throws SluiceError `missing-object` or `config` */
export async function checkSecrets(
  api: WorkspaceApi,
  { secretScope }: DatabricksOptions,
  spec: ProcessSpec,
  host: Host,
): Promise<void> {
  const { secrets } = placedConfiguration(spec, host);
  if (secretScope === undefined) {
    secretContents(spec, secrets, host);
    return;
  }
  const keys = await api.secretKeys(secretScope);
  const wanted = Object.values(secrets).map((secret) => keyInScope(secretScope, secret));
  const missing = keys === null ? wanted : wanted.filter((key) => !keys.includes(key));
  if (keys !== null && missing.length === 0) return;
  const what = keys === null ? `there is no secret scope ${secretScope}` : `it has no key ${missing.join(", ")}`;
  throw new SluiceError("missing-object", `the secret scope ${secretScope}: ${what}`, {
    remedy: `Run databricks secrets put-secret ${secretScope} ${missing[0] ?? "KEY"}, or leave secretScope out.`,
  });
}

/** Content of the secrets, by variable. @throws SluiceError `config` */
function secretContents(spec: ProcessSpec, secrets: Secrets, host: Host): Record<string, string> {
  const told = {
    reader: host,
    orHave: (name: string) => `set deployment.secretScope to a scope with the key ${name}`,
    orName: "set deployment.secretScope",
  };
  return Object.fromEntries(
    Object.entries(secrets).map(([name, origin]) => {
      const content = secretContent(spec, origin, told);
      // Who reads a file takes its last line's end off; who reads a variable doesn't.
      return [name, origin.kind === "file" ? content.replace(/\r?\n$/, "") : content];
    }),
  );
}

/** Pure: a secret's key in a scope that is the user's. @throws SluiceError `config` for a value, which no scope has */
function keyInScope(scope: string, secret: SecretOrigin): string {
  switch (secret.kind) {
    case "variable":
      return secret.name;
    case "file":
      return basename(secret.path);
    case "value":
      throw new SluiceError("config", `a secret of source is a value, and ${scope} has none for it`, {
        remedy: 'Give { env: "NAME" }, and the scope a key of this name; or leave secretScope out.',
      });
  }
}
