import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { dirname } from "node:path";
import { SluiceError } from "../../runtime/errors";
import type { Owner } from "./private-files";

/** A user of this machine, by name. @throws SluiceError `config`: there is none */
export function ownerOf(user: string): Owner {
  const [uid, gid] = ["-u", "-g"].map((flag) => {
    const { status, stdout } = spawnSync("id", [flag, "--", user], { encoding: "utf8" });
    return status === 0 ? Number(stdout) : null;
  });
  if (uid !== null && gid !== null) return { uid, gid };
  throw new SluiceError("config", `this machine has no user ${user}`, {
    remedy: `Make it: useradd --system --shell /usr/sbin/nologin ${user}; or correct deployment.user.`,
  });
}

const look = `const { accessSync, constants: { R_OK, X_OK } } = require("node:fs");
const [mainPath, ...folders] = process.argv.slice(1);
for (const [path, how] of [[mainPath, R_OK], ...folders.map((path) => [path, X_OK])]) {
  try { accessSync(path, how); } catch { console.log(path); break; }
}`;

/**
 * Node and our package run as this user, who passes through these folders, as far as they are there.
 * @throws SluiceError `permission`
 */
export function requireReachable(
  user: string,
  { nodePath, mainPath, folders }: { nodePath: string; mainPath: string; folders: readonly string[] },
): void {
  const { gid } = ownerOf(user);
  const as = [`--reuid=${user}`, `--regid=${gid}`, "--init-groups", "--"];
  const command = [nodePath, "-e", look, "--", mainPath, ...new Set(folders.map(nearest))];
  const { status, stdout, error } = spawnSync("setpriv", [...as, ...command], {
    encoding: "utf8",
    cwd: "/",
    timeout: 30_000,
  });
  // Without setpriv the unit's own failure tells.
  if (error !== undefined) return;
  const missing = status === 0 ? stdout.trim() : nodePath;
  if (missing === "") return;
  throw new SluiceError("permission", `the user ${user} can't reach ${missing}`, {
    remedy: `namei -l ${missing} shows what keeps it out: let it in there (chmod o+x), or put it elsewhere, or leave deployment.user out.`,
  });
}

/** The path itself, or the folder above it that is there. */
const nearest = (path: string): string => (existsSync(path) ? path : nearest(dirname(path)));
