import { readFileSync } from "node:fs";
import { z } from "zod";
import { gatewayConfigSchema, type SourceConfig, sourceSchema } from "../../runtime/config";
import { describeError, SluiceError } from "../../runtime/errors";
import type { SecretReference } from "../../runtime/secret-reference";

/** Options of every command that connects to the source; for `parseOptions`. */
export const sourceOptions = {
  from: { type: "string" },
  config: { type: "string" },
  "password-env": { type: "string" },
  "password-file": { type: "string" },
} as const;

export const sourceUsage = `  --from postgres://USER@HOST:PORT/DATABASE[?sslmode=verify-full&sslrootcert=FILE]
                         the database; never with a password in it
  --password-env NAME    environment variable of the password (PGPASSWORD, where it is set)
  --password-file FILE   file of the password
  --config FILE          instead of these: a gateway's config.json, whose source and password reference are taken
`;

export interface SourceValues {
  from?: string;
  config?: string;
  "password-env"?: string;
  "password-file"?: string;
}

/**
 * The source that the options name, with a reference to its password. No message repeats the URL or its parts.
 * @throws SluiceError `config`
 */
export function sourceOf(command: string, values: SourceValues): SourceConfig {
  if ((values.from === undefined) === (values.config === undefined)) {
    throw wrong(command, "either --from or --config is needed", `See sluice ${command} --help.`);
  }
  const password = passwordOf(command, values);
  if (values.config !== undefined) {
    const source = sourceOfConfig(command, values.config);
    return password === undefined ? source : { ...source, password };
  }
  const given = parseSourceUrl(command, values.from as string);
  const parsed = sourceSchema.safeParse({ ...given, password: password ?? environmentPassword() });
  if (parsed.success) return parsed.data;
  const problems = parsed.error.issues.map((issue) => `${issue.path.join(".")}: ${issue.message}`);
  throw wrong(command, `--from: ${problems.join("; ")}`, `Give --from ${urlForm}.`);
}

const urlForm = "postgres://USER@HOST:PORT/DATABASE";

function passwordOf(command: string, values: SourceValues): SecretReference | undefined {
  const { "password-env": env, "password-file": file } = values;
  if (env !== undefined && file !== undefined) {
    throw wrong(command, "--password-env and --password-file exclude each other", "Give one of them.");
  }
  if (env !== undefined) return { env };
  return file === undefined ? undefined : { file };
}

function environmentPassword(): SecretReference | undefined {
  return process.env.PGPASSWORD === undefined ? undefined : { env: "PGPASSWORD" };
}

/** libpq's names of TLS parameters (PostgreSQL documentation, section 32.1.2), and ours. */
const parameters: Record<string, string> = {
  sslmode: "sslMode",
  sslrootcert: "sslRootCertFile",
  sslcert: "sslCertFile",
  sslkey: "sslKey",
};

function parseSourceUrl(command: string, text: string): Record<string, unknown> {
  let url: URL;
  try {
    url = new URL(text);
  } catch {
    throw wrong(command, "--from is no URL", `Give --from ${urlForm}.`);
  }
  if (url.protocol !== "postgres:" && url.protocol !== "postgresql:") {
    throw wrong(command, "--from doesn't begin with postgres://", `Give --from ${urlForm}.`);
  }
  const names = [...url.searchParams.keys()];
  if (url.password !== "" || names.includes("password")) {
    throw wrong(
      command,
      "--from has a password in it, which the list of processes and the shell's history show",
      `Change that password, and give --from ${urlForm} with it in PGPASSWORD, --password-env NAME or --password-file FILE.`,
    );
  }
  const unknown = names.find((name) => !(name in parameters));
  if (unknown !== undefined) {
    throw wrong(command, "--from has a parameter that isn't known", `Use ${Object.keys(parameters).join(", ")} only.`);
  }
  const settings = names.map((name) => {
    const value = url.searchParams.get(name);
    return [parameters[name], name === "sslkey" ? { file: value } : value];
  });
  try {
    return {
      host: decodeURIComponent(url.hostname.replace(/^\[(.*)\]$/, "$1")),
      port: url.port === "" ? undefined : Number(url.port),
      user: decodeURIComponent(url.username),
      database: decodeURIComponent(url.pathname.replace(/^\//, "")),
      ...Object.fromEntries(settings),
    };
  } catch {
    throw wrong(command, "--from has a % that begins no escape", `Write %25 for a %, in --from ${urlForm}.`);
  }
}

/** The source alone is looked at: the rest may be of a later version. */
function sourceOfConfig(command: string, path: string): SourceConfig {
  let text: unknown;
  try {
    text = JSON.parse(readFileSync(path, "utf8"));
  } catch (cause) {
    throw wrong(command, `configuration file ${path} can't be read: ${describeError(cause)}`, "Correct --config.");
  }
  const parsed = z
    .looseObject({ role: z.literal("gateway"), source: gatewayConfigSchema.shape.source })
    .safeParse(text);
  if (parsed.success) return parsed.data.source;
  throw wrong(
    command,
    `${path} is no gateway's configuration`,
    "Give <stateDir>/<deploymentId>/gateway/config.json, or --from.",
  );
}

function wrong(command: string, message: string, remedy: string): SluiceError {
  return new SluiceError("config", `sluice ${command}: ${message}`, { remedy });
}
