import { startMonitorServer, Terminated } from "./monitor-server";
import type { Operation } from "./operation";
import { registerStoredProviders } from "./operation";
import { Planner } from "./planner";
import { type Project, readProject } from "./project";
import { makeSecret, type PropertyMap } from "./property-values";
import { ProviderRegistry } from "./provider-registry";
import { Redaction } from "./redaction";
import { runRefresh } from "./refresh";
import { type Diagnostic, Report, type Step } from "./report";
import { Scope, type Selection } from "./selection";
import { Snapshot } from "./snapshot";
import { StateFile } from "./state-file";
import { runUpdate, Update } from "./update";
import { STACK_TYPE } from "./urn";

export type { Diagnostic, Step } from "./report";
export type { Selection } from "./selection";

export interface StackOptions {
  /** Folder that holds Pulumi.yaml; its `name` and `main` are honoured. */
  projectDir: string;
  stack: string;
  /** The checkpoint; created when missing, mode 0600. */
  stateFile: string;
  /** `namespace:key` → value. */
  config?: Record<string, string>;
  secretConfig?: Record<string, string>;
  /** Environment of program and providers, over this process's own. */
  env?: Record<string, string>;
  /** Progress: a line for each step, and what program and providers print. */
  onLine?: (line: string) => void;
  /** Folder of a policy pack that previews and updates go by; for the CLI only. */
  policyPack?: string;
  /** Scripts that stand for plug-ins of packages, as `{ databricks: "/path/to.js" }`; for the test engine only. */
  plugins?: Readonly<Record<string, string>>;
  /** Show secret outputs instead of `[secret]`; false by default. */
  showSecrets?: boolean;
}

export interface RefreshOptions extends Omit<Selection, "replace"> {
  previewOnly?: boolean;
}

export interface OperationResult {
  /** The reasons are in `diagnostics`; nothing is thrown. */
  failed: boolean;
  steps: Step[];
  diagnostics: Diagnostic[];
  /** The stack's outputs. */
  outputs: Record<string, unknown>;
  seconds: number;
}

/** A stack deployed by the test engine: dynamic resources of a Node program, state in one file. */
export class Stack {
  readonly #options: StackOptions;

  constructor(options: StackOptions) {
    this.#options = options;
  }

  /** What `up` would do. */
  preview(selection?: Selection): Promise<OperationResult> {
    return this.#operate(true, update, selection);
  }

  up(selection?: Selection): Promise<OperationResult> {
    return this.#operate(false, update, selection);
  }

  /** Takes what providers read into the state; with `previewOnly` it only tells. */
  refresh({ previewOnly = false, ...selection }: RefreshOptions = {}): Promise<OperationResult> {
    return this.#operate(previewOnly, refresh, selection);
  }

  /** Deletes every resource, by the code stored in the state; the program is not run. */
  destroy(selection?: Selection): Promise<OperationResult> {
    return this.#operate(false, destroy, selection);
  }

  async #operate(dryRun: boolean, work: Work, selection?: Selection): Promise<OperationResult> {
    const options = this.#options;
    const begun = Date.now();
    const redaction = new Redaction();
    for (const secret of Object.values(options.secretConfig ?? {})) redaction.learnText(secret);
    const report = new Report(redaction, dryRun, options.onLine ?? (() => {}));
    try {
      if (options.policyPack !== undefined) throw new Error("the test engine has no policy packs: use the pulumi CLI");
      const env = { ...process.env, ...options.env };
      const project = readProject(options.projectDir);
      const file = await StateFile.open(options.stateFile, env.PULUMI_CONFIG_PASSPHRASE ?? "");
      for (const state of file.resources) redaction.learn([state.inputs, state.outputs]);
      for (const { resource, type } of file.interrupted) {
        report.diagnose("warning", `was interrupted while ${type}: look whether it was left half-made`, resource.urn);
      }
      await work({ options, project, file, report, env, dryRun, scope: new Scope(selection) });
    } catch (error) {
      if (!(error instanceof Terminated)) report.fail((error as Error).message);
    }
    return {
      failed: report.failed || report.faulty,
      steps: report.steps,
      diagnostics: report.diagnostics,
      outputs: report.shownOutputs(options.showSecrets ?? false),
      seconds: (Date.now() - begun) / 1000,
    };
  }
}

interface Setting {
  options: StackOptions;
  project: Project;
  file: StateFile;
  report: Report;
  env: Record<string, string | undefined>;
  dryRun: boolean;
  scope: Scope;
}

type Work = (setting: Setting) => Promise<void>;

/** Starts the server and the registry for `body`, and ends them with every process when it is done. */
async function withOperation(
  setting: Setting,
  body: (operation: Operation, update: Update, address: string) => Promise<void>,
): Promise<void> {
  const { options, project, file, report, env, dryRun, scope } = setting;
  const secrets = Object.entries(options.secretConfig ?? {}).map(([key, value]) => [key, makeSecret(value)]);
  const operation: Operation = {
    project,
    stack: options.stack,
    dryRun,
    scope,
    config: { ...options.config, ...Object.fromEntries(secrets) } as PropertyMap,
    snapshot: new Snapshot(file.resources, dryRun ? undefined : file),
    registry: undefined as never,
    report,
  };
  const update = new Update(operation);
  const server = await startMonitorServer(update);
  const onLine = (line: string) => report.diagnose("info", line);
  operation.registry = new ProviderRegistry({
    project,
    address: server.address,
    env,
    onLine,
    plugins: options.plugins,
  });
  try {
    await body(operation, update, server.address);
  } finally {
    await operation.registry.stop();
    server.stop();
  }
}

const update: Work = (setting) =>
  withOperation(setting, (operation, update, address) => {
    const secretKeys = Object.keys(setting.options.secretConfig ?? {});
    return runUpdate(operation, update, address, { env: setting.env, secretKeys });
  });

const refresh: Work = (setting) =>
  withOperation(setting, async (operation) => {
    const resources = await runRefresh(operation);
    operation.report.outputs = resources.find((state) => state.type === STACK_TYPE)?.outputs ?? {};
    if (!setting.dryRun) setting.file.save(resources, []);
  });

const destroy: Work = (setting) =>
  withOperation(setting, async (operation) => {
    registerStoredProviders(operation);
    await new Planner(operation).runDeletions();
  });
