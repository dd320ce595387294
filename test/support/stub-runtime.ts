// Stands for the runtime where only its outside matters: how it is started, healthy, fails and ends. What it does is
// named by the configuration's id, up to the first dash.
import { readFileSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import type { RuntimeConfig } from "../../runtime/config";
import type { ProcessState } from "../../runtime/status";
import { superviseProcess } from "../../runtime/supervisor";

export type StubConduct =
  | "healthy"
  | "finished"
  | "crashes"
  | "killed"
  | "misconfigured"
  | "failed"
  | "waiting"
  | "stubborn";

const [command, ...rest] = process.argv.slice(2);

if (command === "supervise") {
  superviseProcess(rest[0], { mainPath: __filename, backoffMs: { min: 20, max: 200 }, stopTimeoutMs: 1_000 }).then(
    () => process.exit(0),
    (error: unknown) => {
      console.error(error);
      process.exit(1);
    },
  );
} else {
  run(JSON.parse(readFileSync(rest[1], "utf8")) as RuntimeConfig);
}

function run(config: RuntimeConfig): unknown {
  const conduct = config.id.split("-")[0] as StubConduct;
  console.error(JSON.stringify({ event: "begun", environment: Object.keys(process.env).sort(), argv: process.argv }));
  switch (conduct) {
    case "finished":
      return process.exit(0);
    case "crashes":
      return process.exit(3);
    case "killed":
      return process.kill(process.pid, "SIGKILL");
    case "misconfigured":
      console.error(JSON.stringify({ event: "stopped", error: "the stub can't go on\n  remedy: Be kind." }));
      return process.exit(78);
    case "failed": {
      const failed: ProcessState = { kind: "failed", errorKind: "staging", message: "no room", remedy: "Make room." };
      publish(config, failed, null);
      return process.exit(78);
    }
    case "waiting":
      return serve(config, { kind: "waiting", reason: "the moon is not full" });
    case "stubborn":
      process.on("SIGTERM", () => {});
      return serve(config, { kind: "running" });
    case "healthy":
      process.on("SIGTERM", () => process.exit(0));
      return serve(config, { kind: "running" });
  }
}

function serve(config: RuntimeConfig, state: ProcessState): void {
  const server = createServer((_, response) => response.writeHead(200).end("ok\n"));
  server.on("error", (error) => {
    console.error(JSON.stringify({ event: "stopped", error: error.message }));
    process.exit(78);
  });
  server.listen(config.http.port, "127.0.0.1", () => publish(config, state, (server.address() as AddressInfo).port));
}

function publish(config: RuntimeConfig, state: ProcessState, httpPort: number | null): void {
  writeFileSync(
    config.statusPath,
    JSON.stringify({ role: config.role, id: config.id, pid: process.pid, httpPort, state }),
  );
}
