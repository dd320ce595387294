import { randomBytes } from "node:crypto";
import { chmodSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { sharedClusterEnv } from "./postgres-server";

/** What all test files share: the cluster that servers are copied from, and compiled code of the processes they start. */
export default function setUp(): () => void {
  const folder = mkdtempSync(join(tmpdir(), "sluice-tests-"));
  chmodSync(folder, 0o755);
  process.env[sharedClusterEnv] = join(folder, randomBytes(12).toString("hex"));
  process.env.NODE_COMPILE_CACHE ??= join(folder, "compiled");
  return () => rmSync(folder, { recursive: true, force: true });
}
