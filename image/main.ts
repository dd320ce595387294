import { execFileSync, spawnSync } from "node:child_process";
import { copyFileSync } from "node:fs";
import { arch } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { version } from "../runtime/version";
import { type Architecture, architectures, makeContext } from "./context";

const root = join(__dirname, "..", "..");
const context = join(root, "dist", "image-context");

const usage = `Usage: npm run image -- [options]

Builds the runtime's image with docker or podman, as pulumi-sluice:${version}, which the Docker target takes by default.

  --tag NAME        another name and tag
  --base IMAGE      another base with Node, glibc, sh and ldd (default: the Dockerfile's, an official Node image)
  --arch ARCH       amd64 or arm64 (default: this machine's)
  --engine COMMAND  docker or podman (default: the first of them that answers)
  --context-only    only the build's context in dist/image-context
`;

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      tag: { type: "string" },
      base: { type: "string" },
      arch: { type: "string" },
      engine: { type: "string" },
      "context-only": { type: "boolean" },
      help: { type: "boolean" },
    },
  });
  if (values.help === true) {
    process.stdout.write(usage);
    return 0;
  }
  const architecture = values.arch ?? (arch() === "arm64" ? "arm64" : "amd64");
  if (!(architecture in architectures))
    throw new Error(`there is no bundle for --arch ${architecture}: use amd64 or arm64`);
  const isOnlyContext = values["context-only"] === true;
  // Before the work, so that a missing engine is told at once.
  const engine = isOnlyContext ? null : findEngine(values.engine);
  await makeContext(root, context, architecture as Architecture);
  copyFileSync(join(context, "sluice", "sbom.cdx.json"), join(root, "dist", "sbom.cdx.json"));
  if (engine === null) return 0;
  const tag = values.tag ?? `pulumi-sluice:${version}`;
  const build = ["build", "--tag", tag, "--build-arg", `VERSION=${version}`, "--build-arg", `REVISION=${revision()}`];
  if (values.base !== undefined) build.push("--build-arg", `BASE=${values.base}`);
  if (values.arch !== undefined) build.push("--platform", `linux/${architecture}`);
  const { status } = spawnSync(engine, [...build, context], { stdio: "inherit" });
  if (status !== 0) throw new Error(`${engine} build failed (exit ${status}): its output is above`);
  process.stdout.write(`${tag}; bill of materials: dist/sbom.cdx.json\n`);
  return 0;
}

function findEngine(given: string | undefined): string {
  const candidates = given === undefined ? ["docker", "podman"] : [given];
  const reasons = candidates.map((engine) => {
    const { status, stderr, error } = spawnSync(engine, ["version"], { encoding: "utf8" });
    if (status === 0) return null;
    return `${engine}: ${error === undefined ? stderr.trim().split("\n").at(-1) : "not installed"}`;
  });
  const index = reasons.indexOf(null);
  if (index >= 0) return candidates[index];
  throw new Error(
    `no container engine answers\n  ${reasons.join("\n  ")}\n  remedy: Install Docker or podman, or start the daemon (DOCKER_HOST names another).`,
  );
}

/** Empty outside of a checkout. */
function revision(): string {
  try {
    return execFileSync("git", ["rev-parse", "HEAD"], { cwd: root, encoding: "utf8", stdio: "pipe" }).trim();
  } catch {
    return "";
  }
}

main().then(
  (code) => {
    process.exitCode = code;
  },
  (error: Error) => {
    process.stderr.write(`${error.message}\n`);
    process.exitCode = 1;
  },
);
