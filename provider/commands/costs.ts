import { readFileSync } from "node:fs";
import { describeError, SluiceError } from "../../runtime/errors";
import { type Command, parseOptions, print, printJson } from "./command";
import { costReport, previewSchema } from "./cost-report";

export const costs: Command = {
  name: "costs",
  summary: "what a previewed change costs, for a pull request",
  usage: `sluice costs: a Markdown table of what each change of a preview costs

  --preview FILE         what pulumi preview --json wrote; - reads standard input
  --json                 one line of JSON with the Markdown in it
`,
  async run(argv) {
    const values = parseOptions("costs", argv, { preview: { type: "string" } });
    if (values.preview === undefined) {
      throw new SluiceError("config", "sluice costs: --preview is missing", { remedy: "See sluice costs --help." });
    }
    const markdown = costReport(readPreview(values.preview));
    if (values.json === true) printJson({ markdown });
    else print(markdown);
    return 0;
  },
};

/** The text is never repeated: a preview may hold what is nobody's business. */
function readPreview(file: string) {
  let value: unknown;
  try {
    value = JSON.parse(readFileSync(file === "-" ? 0 : file, "utf8"));
  } catch (cause) {
    const reason = cause instanceof SyntaxError ? "it isn't JSON" : describeError(cause);
    throw unusable(file, reason);
  }
  const parsed = previewSchema.safeParse(value);
  if (!parsed.success) throw unusable(file, "it isn't what pulumi preview --json writes");
  return parsed.data;
}

const unusable = (file: string, reason: string) =>
  new SluiceError("config", `sluice costs: ${file} can't be used: ${reason}`, {
    remedy: "Write it with pulumi preview --json > FILE.",
  });
