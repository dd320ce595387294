import { readdirSync, rmSync } from "node:fs";
import { dirname, join } from "node:path";
import type { StackStatus, StatusPaths } from "../support/stack-status";
import { type DemoSession, passwordFile, readSession, stateDir } from "./demo-session";
import { connectDemo, readTraces, stopDemoSource } from "./demo-source";
import { endProcesses, processesOf } from "./runtime-processes";
import type { Screen } from "./screen";
import { operate } from "./stack-operations";

/** How to look around, and how to end it. */
export function keptInstructions(session: DemoSession, paths: StatusPaths, status: StackStatus): string[] {
  const { host, port, user, database } = session;
  const parts = [
    { role: "gateway", path: paths.gatewayStatusPath, httpPort: status.gateway?.httpPort },
    { role: "applier", path: paths.applierStatusPath, httpPort: status.applier?.httpPort },
  ];
  return [
    "the source",
    `  PGPASSWORD=$(cat ${passwordFile(session)}) psql -h ${host} -p ${port} -U ${user} ${database}`,
    ...parts.flatMap(({ role, path, httpPort }) => [
      `the ${role}`,
      `  cat ${path}`,
      `  tail -f ${join(dirname(path), `${role}.log`)}`,
      `  curl http://127.0.0.1:${httpPort}/healthz    (also /status and /metrics)`,
    ]),
    "the Delta tables",
    ...session.tables.map((table) => `  ${join(session.lake, "public", table)}`),
    "destroy all but the Delta tables",
    `  npm run demo -- --destroy ${session.folder}`,
  ];
}

/** @throws Error when it isn't a demo's folder, or something remains */
export async function destroyKept(folder: string, screen: Screen): Promise<void> {
  const session = readSession(folder);
  screen.step("destroy");
  await operate(session, "destroy", screen);
  const client = await connectDemo(session);
  const { slots, publications } = await readTraces(client).finally(() => client.end());
  const processes = processesOf(stateDir(session)).length;
  screen.line(`slots ${slots}, publications ${publications}, processes ${processes}`);
  if (slots + publications + processes > 0) throw new Error(`not all is gone: look at ${folder}`);
  await endProcesses(stateDir(session));
  await stopDemoSource(session);
  for (const name of readdirSync(folder)) {
    if (join(folder, name) !== session.lake) rmSync(join(folder, name), { recursive: true, force: true });
  }
  if (readdirSync(folder).length === 0) rmSync(folder, { recursive: true });
  screen.line(`PostgreSQL is stopped and removed; the Delta tables stay in ${session.lake}`);
}
