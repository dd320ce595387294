import type { Severity } from "./monitor-server";
import { type PropertyMap, shownProperties } from "./property-values";
import type { Redaction } from "./redaction";
import { parseUrn } from "./urn";

/** One thing done to one resource, named as the CLI names it. */
export interface Step {
  /** `same`, `create`, `update`, `delete`, `replace`, `create-replacement`, `delete-replaced`, `read`, `discard` … */
  op: string;
  urn: string;
  type: string;
  name: string;
  /** Top-level inputs that differ. */
  diffKeys?: string[];
  /** Inputs that force a replacement. */
  replaceKeys?: string[];
  /** Begun, and not brought to its end. */
  failed?: true;
}

export interface Diagnostic {
  severity: Severity;
  message: string;
  urn?: string;
}

const WORDS: Record<string, { sign: string; doing: string; done: string }> = {
  create: { sign: "+", doing: "creating", done: "created" },
  "create-replacement": { sign: "+", doing: "creating replacement", done: "created replacement" },
  update: { sign: "~", doing: "updating", done: "updated" },
  delete: { sign: "-", doing: "deleting", done: "deleted" },
  "delete-replaced": { sign: "-", doing: "deleting original", done: "deleted original" },
  read: { sign: ">", doing: "reading", done: "read" },
  "read-replacement": { sign: ">", doing: "reading", done: "read" },
  discard: { sign: "<", doing: "discarding", done: "discarded" },
};

/** What an operation did and said, without its secrets. */
export class Report {
  readonly steps: Step[] = [];
  readonly diagnostics: Diagnostic[] = [];
  outputs: PropertyMap = {};
  failed = false;
  /** Something is wrong, and the operation went on to tell what else is. */
  faulty = false;
  readonly redaction: Redaction;
  readonly #onLine: (line: string) => void;
  readonly #dryRun: boolean;

  constructor(redaction: Redaction, dryRun: boolean, onLine: (line: string) => void) {
    this.redaction = redaction;
    this.#dryRun = dryRun;
    this.#onLine = onLine;
  }

  line(text: string): void {
    this.#onLine(this.redaction.hide(text));
  }

  diagnose(severity: Severity, message: string, urn?: string): void {
    const text = this.redaction.hide(message);
    this.diagnostics.push({ severity, message: text, ...(urn ? { urn } : {}) });
    const name = urn ? `${parseUrn(urn).name}: ` : "";
    this.#onLine(severity === "info" ? `   ${name}${text}` : `   ${severity}: ${name}${text}`);
  }

  /** An error that ends the operation. */
  fail(message: string, urn?: string): void {
    this.failed = true;
    this.diagnose("error", message, urn);
  }

  fault(message: string, urn?: string): void {
    this.faulty = true;
    this.diagnose("error", message, urn);
  }

  /** Notes a step at its beginning; the function returned notes its end. */
  begin(op: string, urn: string, keys: Pick<Step, "diffKeys" | "replaceKeys"> = {}): (failed: boolean) => void {
    const { type, name } = parseUrn(urn);
    const step: Step = { op, urn, type, name, ...keys };
    this.steps.push(step);
    const words = WORDS[op];
    const begun = Date.now();
    const subject = `${type.replace(/^pulumi-nodejs:dynamic[:/]/, "")} ${name}`;
    if (words) this.line(` ${words.sign} ${subject} ${this.#dryRun ? op : `${words.doing}…`}`);
    return (failed) => {
      if (failed) step.failed = true;
      if (!words || this.#dryRun) return;
      const seconds = ((Date.now() - begun) / 1000).toFixed(1);
      this.line(` ${words.sign} ${subject} ${failed ? `${words.doing} failed` : words.done} (${seconds} s)`);
    };
  }

  shownOutputs(showSecrets: boolean): Record<string, unknown> {
    return shownProperties(this.outputs, showSecrets);
  }
}
