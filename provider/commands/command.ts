import { type ParseArgsConfig, parseArgs } from "node:util";
import { SluiceError } from "../../runtime/errors";

/** An administrative command of the bin. */
export interface Command {
  /** as `slots` */
  name: string;
  /** what it does, one line without a full stop */
  summary: string;
  /** all of `sluice <name> --help`, ending with a line feed */
  usage: string;
  /**
   * `argv`: what follows the name. Answers with the exit code: 0, or 1 where what was asked for was found wanting.
   * @throws SluiceError `config` for a wrong option
   */
  run(argv: string[]): Promise<number>;
}

type Options = NonNullable<ParseArgsConfig["options"]>;
const general = { help: { type: "boolean" }, json: { type: "boolean" } } as const satisfies Options;

/** Options of a command, `--help` and `--json` among them. A value that isn't an option's is never repeated: it may be a secret. */
export function parseOptions<const T extends Options>(name: string, argv: string[], options: T) {
  try {
    return parseArgs({ args: argv, options: { ...options, ...general }, allowPositionals: false, strict: true }).values;
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    const text =
      code === "ERR_PARSE_ARGS_UNEXPECTED_POSITIONAL" ? "an argument isn't an option's value" : firstSentence(message);
    throw new SluiceError("config", `sluice ${name}: ${text}`, { remedy: `See sluice ${name} --help.` });
  }
}

/** Node's message names the option; the advice after it doesn't fit. */
function firstSentence(message: string): string {
  return message.split(/[.\n]/, 1)[0];
}

export function print(text: string): void {
  process.stdout.write(text.endsWith("\n") ? text : `${text}\n`);
}

export function printJson(value: unknown): void {
  process.stdout.write(`${JSON.stringify(value)}\n`);
}
