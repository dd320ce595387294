import { execFileSync } from "node:child_process";
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";

export type Tool = { path: string } | { skipped: string };

const packages = { psql: "postgresql-client", pg_recvlogical: "postgresql" } as const;

/** PostgreSQL's own client of Debian's packages, installed when missing and we may. */
export function debianTool(name: keyof typeof packages): Tool {
  const found = find(name);
  if (found !== null) return { path: found };
  if (process.getuid?.() !== 0 || !existsSync("/usr/bin/apt-get")) {
    return { skipped: `${name} is not installed: apt-get install ${packages[name]} (as root)` };
  }
  const environment = { ...process.env, DEBIAN_FRONTEND: "noninteractive" };
  const run = (arguments_: string[]) =>
    execFileSync("apt-get", arguments_, { env: environment, stdio: ["ignore", "ignore", "pipe"], timeout: 300_000 });
  try {
    process.stderr.write(`installing ${packages[name]} for ${name} …\n`);
    run(["update", "-qq"]);
    // The server's package would start a cluster: its programs are all that is wanted.
    run(["install", "-y", "-qq", "--no-install-recommends", "-o", "DPkg::Options::=--force-confold", packages[name]]);
  } catch (error) {
    return { skipped: `${packages[name]} could not be installed: ${(error as Error).message.split("\n")[0]}` };
  }
  const installed = find(name);
  return installed === null ? { skipped: `${packages[name]} has no ${name}` } : { path: installed };
}

/** Newest first; /usr/bin/psql is Debian's wrapper script, which would be timed too. */
function find(name: string): string | null {
  const root = "/usr/lib/postgresql";
  const majors = existsSync(root) ? readdirSync(root).sort((a, b) => Number(b) - Number(a)) : [];
  const candidates = [...majors.map((major) => join(root, major, "bin", name)), `/usr/bin/${name}`];
  return candidates.find((path) => existsSync(path)) ?? null;
}
