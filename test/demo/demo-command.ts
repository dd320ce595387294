import { resolve } from "node:path";
import { parseArgs } from "node:util";

export interface RunCommand {
  kind: "run";
  /** leave everything up at the end */
  keep: boolean;
  /** end with one JSON line */
  json: boolean;
  /** 1 is about 600,000 rows */
  scale: number;
  /** folder of the Delta tables, left at the end; null: one of the demo's own, removed at the end */
  lake: string | null;
  /** where gateway and applier run */
  target: "local" | "docker";
  /** what has the tables: a folder of this machine, or Spark, which stands for a warehouse and its workspace */
  destination: "local" | "spark";
}

export type DemoCommand =
  | { kind: "help" }
  | { kind: "error"; message: string }
  | RunCommand
  /** of what a run with `keep` left in this folder */
  | { kind: "destroy"; folder: string };

export const demoUsage = `Usage: npm run demo -- [options]

Starts a PostgreSQL of its own, brings six tables into Delta tables through the stack at the
project's root while a workload changes them, proves every row, adds a table, and destroys it all.

  --keep             leave everything running, and print how to look around and how to destroy it
  --destroy FOLDER   destroy what a run with --keep left running
  --scale N          times the usual 609,025 rows (default 1; 0.01 to 100)
  --lake FOLDER      put the Delta tables there, and leave them
  --target docker    gateway and applier in containers of the image that npm run image makes
  --destination spark  stage by the Files API of a workspace's stand-in, and let Spark merge and tell the tables, as a SQL
                     warehouse would; needs Java 17 and PyPI and Maven Central once (1 GB below node_modules/.cache)
  --json             end with one JSON line
  --help             this text

It exits with 0 when everything holds, 1 when something doesn't, 64 when it is called wrongly, 69 when what it needs isn't
to be had here.
`;

export function readDemoCommand(args: string[]): DemoCommand {
  let values: ReturnType<typeof parse>;
  try {
    values = parse(args);
  } catch (error) {
    return { kind: "error", message: (error as Error).message.split(". ")[0] };
  }
  if (values.help) return { kind: "help" };
  if (values.destroy !== undefined) {
    const others = ["keep", "scale", "lake", "json", "target", "destination"].filter((name) => name in values);
    if (others.length > 0) return { kind: "error", message: `--destroy takes no --${others[0]}` };
    if (values.destroy === "") return { kind: "error", message: "--destroy needs a folder" };
    return { kind: "destroy", folder: resolve(values.destroy) };
  }
  const scale = Number(values.scale ?? "1");
  if (!(scale >= 0.01 && scale <= 100)) {
    return { kind: "error", message: `--scale is a number from 0.01 to 100, not ${JSON.stringify(values.scale)}` };
  }
  if (values.lake === "") return { kind: "error", message: "--lake needs a folder" };
  const lake = values.lake === undefined ? null : resolve(values.lake);
  const target = values.target ?? "local";
  if (target !== "local" && target !== "docker") {
    return { kind: "error", message: `--target is local or docker, not ${JSON.stringify(target)}` };
  }
  const destination = values.destination ?? "local";
  if (destination !== "local" && destination !== "spark") {
    return { kind: "error", message: `--destination is local or spark, not ${JSON.stringify(destination)}` };
  }
  // Spark ends with the demo, in a network of its own, where no container is.
  const other = ["keep", "lake", "target"].find((name) => name in values);
  if (destination === "spark" && other !== undefined) {
    return { kind: "error", message: `--destination spark takes no --${other}` };
  }
  return { kind: "run", target, destination, keep: values.keep ?? false, json: values.json ?? false, scale, lake };
}

function parse(args: string[]) {
  return parseArgs({
    args,
    strict: true,
    allowPositionals: false,
    options: {
      keep: { type: "boolean" },
      destroy: { type: "string" },
      scale: { type: "string" },
      lake: { type: "string" },
      json: { type: "boolean" },
      target: { type: "string" },
      destination: { type: "string" },
      help: { type: "boolean", short: "h" },
    },
  }).values;
}
