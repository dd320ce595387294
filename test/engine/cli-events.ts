import type { Severity } from "./monitor-server";
import { type PropertyMap, shownProperties } from "./property-values";
import type { Diagnostic, Step } from "./report";
import { defaultProviderUrn, isProviderType, packageOf, parseUrn, STACK_TYPE } from "./urn";

interface StepMetadata {
  op: string;
  urn: string;
  type: string;
  keys?: string[];
  diffs?: string[];
  new?: { outputs?: PropertyMap } | null;
}

/** A line of the log that the CLI writes for `--event-log`; of each event only what is used here. */
export interface CliEvent {
  diagnosticEvent?: { urn?: string; prefix?: string; message: string; severity: string; ephemeral?: boolean };
  policyEvent?: { resourceUrn?: string; message: string; policyName: string; enforcementLevel: string };
  resourcePreEvent?: { metadata: StepMetadata };
  resOutputsEvent?: { metadata: StepMetadata };
  resOpFailedEvent?: { metadata: StepMetadata };
}

export interface CliReport {
  steps: Step[];
  diagnostics: Diagnostic[];
  /** Outputs of the stack, secrets shown as `[secret]`. */
  outputs: Record<string, unknown>;
}

/** What the engine's own report would have said. */
export function reportOfEvents(events: readonly CliEvent[]): CliReport {
  const report: CliReport = { steps: [], diagnostics: [], outputs: {} };
  for (const event of events) {
    if (event.diagnosticEvent) addDiagnostic(report, event.diagnosticEvent);
    if (event.policyEvent) addViolation(report, event.policyEvent);
    const { resourcePreEvent: begun, resOutputsEvent: ended, resOpFailedEvent: failed } = event;
    // What a refresh found out is only known at its end.
    if (begun && begun.metadata.op !== "refresh") addStep(report, begun.metadata);
    if (failed) failStep(report, failed.metadata);
    if (!ended) continue;
    const { metadata } = ended;
    if (!report.steps.some(({ urn, op }) => urn === metadata.urn && op === metadata.op)) addStep(report, metadata);
    if (metadata.type === STACK_TYPE) report.outputs = shownProperties(metadata.new?.outputs ?? {}, false);
  }
  return report;
}

function addStep(report: CliReport, metadata: StepMetadata): void {
  const { urn, op, diffs, keys } = metadata;
  const { stack, project, type, name } = parseUrn(urn);
  if (isProviderType(type) && urn === defaultProviderUrn(stack, project, packageOf(type))) return;
  report.steps.push({
    op,
    urn,
    type,
    name,
    ...(diffs ? { diffKeys: diffs } : {}),
    ...(keys ? { replaceKeys: keys } : {}),
  });
}

function failStep(report: CliReport, metadata: StepMetadata): void {
  const step = report.steps.findLast(({ urn, op }) => urn === metadata.urn && op === metadata.op);
  if (step) step.failed = true;
}

function addViolation(report: CliReport, event: NonNullable<CliEvent["policyEvent"]>): void {
  const { resourceUrn, policyName, enforcementLevel } = event;
  const severity = enforcementLevel === "mandatory" ? ("error" as const) : ("warning" as const);
  const message = `policy ${policyName}: ${withoutColours(event.message)}`;
  report.diagnostics.push({ severity, message, ...(resourceUrn ? { urn: resourceUrn } : {}) });
}

/** Colours are written as `<{%name%}>`. */
const withoutColours = (text: string) => text.replaceAll(/<\{%[^%]*%\}>/g, "").trimEnd();

function addDiagnostic(report: CliReport, event: NonNullable<CliEvent["diagnosticEvent"]>): void {
  if (event.ephemeral || event.severity === "debug") return;
  const severity: Severity =
    event.severity === "error" || event.severity === "warning" ? event.severity : ("info" as const);
  report.diagnostics.push({
    severity,
    message: withoutColours(event.message),
    ...(event.urn ? { urn: event.urn } : {}),
  });
}
