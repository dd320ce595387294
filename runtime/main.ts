#!/usr/bin/env node
import { readFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { type RuntimeConfig, runtimeConfigSchema } from "./config";
import { describeError, isTransient, SluiceError } from "./errors";
import { log } from "./operate/log";
import { superviseProcess } from "./supervisor";
import { version } from "./version";

const usage = `sluice ${version}: PostgreSQL into Delta tables

  sluice gateway --config FILE     snapshots and WAL into staging, until SIGTERM
  sluice applier --config FILE     staging into Delta tables, until SIGTERM (or once)
  sluice resync --config FILE [--json] SCHEMA.TABLE …
                                   new snapshots of tables, whose rows of now stay readable until then
  sluice runs --config FILE [--json] [--limit N] [SCHEMA.TABLE]
                                   what the applier has done by table, the newest first (20)
  sluice supervise FILE            runs the process of a configuration file, again after a crash
  sluice --version
`;

/** EX_CONFIG: a restart changes nothing. */
const exitNeedsHelp = 78;

async function main(): Promise<number> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      config: { type: "string" },
      json: { type: "boolean" },
      limit: { type: "string" },
      version: { type: "boolean" },
      help: { type: "boolean" },
    },
  });
  if (values.version === true) {
    process.stdout.write(`${version}\n`);
    return 0;
  }
  const command = positionals[0];
  switch (command) {
    case "gateway":
    case "applier": {
      if (values.config === undefined) throw new SluiceError("config", `sluice ${command}: --config FILE is missing`);
      const config = readConfig(values.config);
      if (config.role !== command) {
        throw new SluiceError("config", `${values.config} configures a ${config.role}, not a ${command}`);
      }
      await run(config);
      return 0;
    }
    case "resync": {
      const tables = positionals.slice(1);
      if (values.config === undefined || tables.length === 0) {
        throw new SluiceError(
          "config",
          "sluice resync: --config FILE (of gateway or applier) and SCHEMA.TABLE are needed",
        );
      }
      const { resyncTables } = await import("./commands/resync.js");
      await resyncTables(readConfig(values.config), tables, values.json === true);
      return 0;
    }
    case "runs": {
      if (values.config === undefined) throw new SluiceError("config", "sluice runs: --config FILE is missing");
      const config = readConfig(values.config);
      const limit = Number(values.limit ?? 20);
      if (config.role !== "applier") throw new SluiceError("config", `${values.config} configures no applier`);
      if (!Number.isInteger(limit) || limit < 1)
        throw new SluiceError("config", "sluice runs: --limit is a number from 1");
      const { showRuns } = await import("./commands/runs.js");
      showRuns(config, { table: positionals[1], limit, asJson: values.json === true });
      return 0;
    }
    case "supervise": {
      if (positionals[1] === undefined) throw new SluiceError("config", "sluice supervise: FILE is missing");
      await superviseProcess(positionals[1], { mainPath: __filename });
      return 0;
    }
    default:
      process.stdout.write(usage);
      return values.help === true ? 0 : 64;
  }
}

async function run(config: RuntimeConfig): Promise<void> {
  const stop = new AbortController();
  for (const signal of ["SIGTERM", "SIGINT"] as const) process.on(signal, () => stop.abort());
  switch (config.role) {
    // Each process loads what it runs only.
    case "gateway": {
      const { runGateway } = await import("./gateway/gateway-process.js");
      return runGateway(config, stop.signal);
    }
    case "applier": {
      const { runApplier } = await import("./applier/applier.js");
      return runApplier(config, { signal: stop.signal, version });
    }
  }
}

function readConfig(path: string): RuntimeConfig {
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch (cause) {
    throw new SluiceError("config", `configuration file ${path} can't be read: ${describeError(cause)}`, { cause });
  }
  const parsed = runtimeConfigSchema.safeParse(parseJson(path, text));
  if (parsed.success) return parsed.data;
  const problems = parsed.error.issues.map((issue) => `${issue.path.join(".") || "(root)"}: ${issue.message}`);
  throw new SluiceError("config", `configuration file ${path}: ${problems.join("; ")}`, {
    remedy: "It is written by the provider: run pulumi up with the package's version that this runtime has.",
  });
}

function parseJson(path: string, text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new SluiceError("config", `configuration file ${path} is not JSON: ${describeError(cause)}`, { cause });
  }
}

main().then(
  (code) => process.exit(code),
  (thrown: unknown) => {
    log("error", "stopped", {
      error: describeError(thrown),
      kind: thrown instanceof SluiceError ? thrown.kind : "internal",
    });
    process.exit(thrown instanceof SluiceError && !isTransient(thrown.kind) ? exitNeedsHelp : 1);
  },
);
