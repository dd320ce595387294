import { type AccessFinding, type AccessQuestion, checkAccess } from "../databricks/access-check";
import { resolveWorkspace } from "../databricks/workspace";
import { WorkspaceClient } from "../databricks/workspace-client";
import { parseVolumePath, volumeNameSchema, type WorkspaceSettings } from "../databricks-config";
import { SluiceError } from "../errors";
import { type WorkspaceOption, workspaceSettings } from "./workspace-option";

/** Nobody waits longer for a workspace that is away. */
const retryMsMax = 10_000;

const command = "sluice doctor databricks";

/** With a configuration its volume is looked at too. */
export interface DoctorOptions extends WorkspaceOption {
  /** `catalog.schema.volume` */
  volume?: string;
  /** `catalog.schema` */
  schema?: string;
  /** id of a SQL warehouse */
  warehouse?: string;
  /** for Databricks' own pipelines */
  managed?: boolean;
  /** with `managed`: of the gateway's storage, `catalog.schema`; default `schema` */
  gatewaySchema?: string;
  /** with `managed`: the name of one that is there */
  connection?: string;
  asJson: boolean;
}

/**
 * `sluice doctor databricks`: what a workspace lacks for us, with the GRANT; changes nothing.
 * @returns 0 when nothing has failed, else 1
 * @throws SluiceError `config` when the options, or who we are, can't be told
 */
export async function printDatabricksHealth(options: DoctorOptions): Promise<number> {
  const { settings, question } = readQuestion(options);
  const workspace = resolveWorkspace(settings);
  const client = new WorkspaceClient(workspace, { retryMsMax });
  const findings: AccessFinding[] = [];
  try {
    for await (const finding of checkAccess(client, question)) {
      findings.push(finding);
      if (!options.asJson) process.stdout.write(`${describe(finding)}\n`);
    }
  } finally {
    client.close();
  }
  const isWell = findings.every(({ result }) => result !== "failed");
  if (options.asJson) {
    process.stdout.write(`${JSON.stringify({ host: workspace.host, origin: workspace.origin, isWell, findings })}\n`);
  }
  return isWell ? 0 : 1;
}

/** Pure: a word of its result, what was looked at, and what helps. */
export function describe({ check, object, result, message, remedy }: AccessFinding): string {
  const words = { ok: "ok     ", failed: "FAILED ", unknown: "unknown" };
  const line = `${words[result]}  ${check} ${object}: ${message}`;
  return remedy === undefined ? line : `${line}\n  remedy: ${remedy}`;
}

function readQuestion(options: DoctorOptions): { settings: WorkspaceSettings; question: AccessQuestion } {
  const { config, schema, warehouse, managed, gatewaySchema = schema, connection } = options;
  const settings = workspaceSettings(command, options);
  const volume = options.volume ?? (config === undefined ? undefined : parseVolumePath(config.stagingPath)?.volume);
  if (volume !== undefined && !volumeNameSchema.safeParse(volume).success) {
    throw wrong(`--volume ${volume} is no volume's name`, "It is catalog.schema.volume.");
  }
  for (const [option, name] of Object.entries({ schema, "gateway-schema": gatewaySchema })) {
    if (name === undefined || /^[^.]+\.[^.]+$/.test(name)) continue;
    throw wrong(`--${option} ${name} is no schema's name`, "It is catalog.schema.");
  }
  if (managed !== true && (options.gatewaySchema ?? connection) !== undefined) {
    throw wrong("--gateway-schema and --connection are of Databricks' own pipelines", "Add --managed.");
  }
  const asked = managed === true ? { managed: { gatewaySchema, connection } } : {};
  return { settings, question: { volume, schema, warehouse, ...asked } };
}

const wrong = (message: string, remedy: string) => new SluiceError("config", `${command}: ${message}`, { remedy });
