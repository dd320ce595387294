import { SluiceError } from "../errors";

interface CommandForm {
  options: readonly string[];
  /** words behind the command that it takes at most */
  wordsMax: number;
}

const tables = Number.POSITIVE_INFINITY;
const workspace = ["config", "host", "profile"];
const form = (wordsMax: number, ...options: string[]): CommandForm => ({ options, wordsMax });

/** What each command of the runtime takes. */
const forms = new Map<string, CommandForm>([
  ["gateway", form(0, "config")],
  ["applier", form(0, "config")],
  ["status", form(0, "config", "json")],
  ["health", form(0, "config", "json")],
  ["runs", form(tables, ...workspace, "pipeline", "table", "limit", "json")],
  ["refresh", form(tables, ...workspace, "pipeline", "table", "all", "full", "json")],
  ["resync", form(tables, "config", "table", "all", "accept-history-loss", "json")],
  ["purge", form(0, "config", "older-than", "past-snapshots", "dry-run", "json")],
  ["doctor", form(1, ...workspace, "volume", "schema", "warehouse", "managed", "gateway-schema", "connection", "json")],
  ["drop-tables", form(0, "config", "yes")],
  ["supervise", form(1)],
  ["app", form(0, "config")],
  ["job", form(0, "config")],
]);

/**
 * A command that there is gets what it takes, and nothing that it would pass over in silence.
 * @throws SluiceError `config`
 */
export function requireTaken(command: string, given: readonly string[], words: readonly string[]): void {
  const known = forms.get(command);
  if (known === undefined) return;
  const option = given.find((name) => !known.options.includes(name));
  const wrong = option === undefined ? words.at(known.wordsMax) : `--${option}`;
  if (wrong === undefined) return;
  const taken = known.options.length === 0 ? "no options" : known.options.map((name) => `--${name}`).join(", ");
  throw new SluiceError("config", `sluice ${command} takes no ${wrong}`, {
    remedy: `It takes ${taken}; sluice --help tells what they are.`,
  });
}
