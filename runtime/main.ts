#!/usr/bin/env node
import { parseArgs } from "node:util";
import { runAsApp } from "./app-process";
import { requireTaken } from "./commands/command-options";
import type { RuntimeConfig } from "./config";
import { readConfigFile } from "./config-file";
import { describeError, exitCodeOf, SluiceError } from "./errors";
import { fixMallocThresholds } from "./malloc-settings";
import { log } from "./operate/log";
import { superviseProcess } from "./supervisor";
import { runtimeUsage } from "./usage";
import { version } from "./version";

const usage = `sluice ${version}: PostgreSQL into Delta tables\n\n${runtimeUsage}`;

/** Their errors are read by programs, as lines of a log; those of the others by people. */
const loggedCommands = new Set(["gateway", "applier", "app", "job", "supervise", "drop-tables"]);

async function main(): Promise<number> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      config: { type: "string" },
      table: { type: "string", multiple: true },
      all: { type: "boolean" },
      "accept-history-loss": { type: "boolean" },
      json: { type: "boolean" },
      yes: { type: "boolean" },
      limit: { type: "string" },
      host: { type: "string" },
      profile: { type: "string" },
      volume: { type: "string" },
      schema: { type: "string" },
      warehouse: { type: "string" },
      managed: { type: "boolean" },
      "gateway-schema": { type: "string" },
      connection: { type: "string" },
      pipeline: { type: "string" },
      full: { type: "boolean" },
      "older-than": { type: "string" },
      "past-snapshots": { type: "boolean" },
      "dry-run": { type: "boolean" },
      version: { type: "boolean" },
      help: { type: "boolean" },
    },
  });
  if (values.version === true) {
    process.stdout.write(`${version}\n`);
    return 0;
  }
  const command = values.help === true ? undefined : positionals.at(0);
  if (command !== undefined) requireTaken(command, Object.keys(values), positionals.slice(1));
  switch (command) {
    case "gateway":
    case "applier": {
      const path = configPath(command, values.config);
      const config = readConfigFile(path);
      if (config.role !== command) {
        throw new SluiceError("config", `${path} configures a ${config.role}, not a ${command}`, {
          remedy: `Run sluice ${config.role} --config ${path}, or name the file of the ${command}.`,
        });
      }
      if (command === "applier") fixMallocThresholds();
      await run(config);
      return 0;
    }
    case "status":
    case "runs":
    case "resync": {
      if (command === "runs" && values.pipeline !== undefined) return printPipelineRuns(values, positionals.slice(1));
      const path = configPath(command, values.config);
      const tables = [...(values.table ?? []), ...positionals.slice(1)];
      const limit = limitOf(values.limit);
      const acceptLoss = values["accept-history-loss"] === true;
      const options = { all: values.all === true, acceptLoss, limit, asJson: values.json === true };
      await operate(command, readConfigFile(path), tables, options);
      return 0;
    }
    case "health": {
      const { printHealth } = await import("./commands/health.js");
      return printHealth(readConfigFile(configPath(command, values.config)), values.json === true);
    }
    case "purge": {
      const { printPurge } = await import("./commands/purge.js");
      await printPurge(readConfigFile(configPath(command, values.config)), {
        olderThan: values["older-than"] ?? "7d",
        pastSnapshots: values["past-snapshots"] === true,
        isDry: values["dry-run"] === true,
        asJson: values.json === true,
      });
      return 0;
    }
    case "drop-tables": {
      const { printDrop } = await import("./applier/drop-command.js");
      await printDrop(readConfigFile(configPath(command, values.config)), values.yes === true);
      return 0;
    }
    case "doctor": {
      if (positionals[1] !== "databricks") {
        throw new SluiceError("config", "sluice doctor: what to look at is missing", {
          remedy: "It is: sluice doctor databricks.",
        });
      }
      const { printDatabricksHealth } = await import("./commands/doctor.js");
      const { host, profile, volume, schema, warehouse, managed, connection } = values;
      const gatewaySchema = values["gateway-schema"];
      const config = optionalConfig(values.config);
      const asked = { volume, schema, warehouse, managed, gatewaySchema, connection };
      return printDatabricksHealth({ config, host, profile, ...asked, asJson: values.json === true });
    }
    case "refresh": {
      const { config, host, profile, pipeline, full = false, all = false, json = false } = values;
      const tables = [...(values.table ?? []), ...positionals.slice(1)];
      if (pipeline === undefined || all === tables.length > 0) {
        throw new SluiceError("config", "sluice refresh: --pipeline ID, and --table NAME or --all, are needed", {
          remedy: "Name the tables as they are in the workspace, as in --table main.shop.orders.",
        });
      }
      const { startRefresh } = await import("./commands/refresh.js");
      await startRefresh({ config: optionalConfig(config), host, profile }, pipeline, { tables, full }, json);
      return 0;
    }
    case "app": {
      await runAsApp(configPath(command, values.config), { mainPath: __filename });
      return 0;
    }
    case "job": {
      const { runAsJob } = await import("./job-process.js");
      await runAsJob(configPath(command, values.config), { mainPath: __filename });
      return 0;
    }
    case "supervise": {
      if (positionals[1] === undefined) {
        throw new SluiceError("config", "sluice supervise: FILE is missing", {
          remedy: "Name the configuration file: sluice supervise <stateDir>/<id>/gateway/config.json.",
        });
      }
      await superviseProcess(positionals[1], { mainPath: __filename });
      return 0;
    }
    default:
      process.stdout.write(usage);
      return values.help === true ? 0 : 64;
  }
}

const optionalConfig = (path: string | undefined) => (path === undefined ? undefined : readConfigFile(path));

function limitOf(text = "20"): number {
  const limit = Number(text);
  if (Number.isInteger(limit) && limit >= 1) return limit;
  throw new SluiceError("config", `--limit ${text} is no whole number from 1`, {
    remedy: "Give how many runs to show, as in --limit 20.",
  });
}

async function printPipelineRuns(
  values: {
    config?: string;
    host?: string;
    profile?: string;
    pipeline?: string;
    table?: string[];
    limit?: string;
    json?: boolean;
  },
  named: string[],
): Promise<number> {
  const { config, host, profile, pipeline = "", table = [], json = false } = values;
  const options = { limit: limitOf(values.limit), asJson: json };
  const { withWorkspace } = await import("./commands/refresh.js");
  const { printPipelineRuns: print } = await import("./commands/runs.js");
  const labels = [...table, ...named];
  await withWorkspace("sluice runs", { config: optionalConfig(config), host, profile }, (client) =>
    print(client, pipeline, labels, options),
  );
  return 0;
}

/** In a container the variable names the file, so that `docker exec … sluice status` needs no option. */
function configPath(command: string, given: string | undefined): string {
  const path = given ?? process.env.SLUICE_CONFIG;
  if (path !== undefined) return path;
  throw new SluiceError("config", `sluice ${command}: --config FILE is missing`, {
    remedy: `Name the process's file: sluice ${command} --config <stateDir>/<id>/gateway/config.json, or set SLUICE_CONFIG to it.`,
  });
}

async function operate(
  command: "status" | "runs" | "resync",
  config: RuntimeConfig,
  tables: string[],
  { all, acceptLoss, limit, asJson }: { all: boolean; acceptLoss: boolean; limit: number; asJson: boolean },
): Promise<void> {
  switch (command) {
    case "status": {
      const { printStatus } = await import("./commands/status.js");
      return printStatus(config, asJson);
    }
    case "runs": {
      const { printRuns } = await import("./commands/runs.js");
      return printRuns(config, tables, { limit, asJson });
    }
    case "resync": {
      const { resyncAll, resyncTables } = await import("./commands/resync.js");
      if (all === tables.length > 0) {
        throw new SluiceError("config", "sluice resync: either --table SCHEMA.TABLE or --all is needed", {
          remedy: "Name the tables that are to be copied again, as in --table public.orders, or all of them by --all.",
        });
      }
      if (acceptLoss && all) {
        throw new SluiceError("config", "sluice resync: --accept-history-loss goes with --table SCHEMA.TABLE only", {
          remedy: "Name each table whose history may be lost, as in --table public.orders, without --all.",
        });
      }
      return all ? resyncAll(config, asJson) : resyncTables(config, tables, { asJson, acceptLoss });
    }
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

main().then(
  (code) => process.exit(code),
  (thrown: unknown) => {
    if (process.argv.slice(2).some((word) => loggedCommands.has(word))) {
      log("error", "stopped", {
        error: describeError(thrown),
        kind: thrown instanceof SluiceError ? thrown.kind : "internal",
      });
    } else process.stderr.write(`${describeError(thrown)}\n`);
    process.exit(exitCodeOf(thrown));
  },
);
