import { execFileSync, spawnSync } from "node:child_process";
import { copyFileSync } from "node:fs";
import { arch } from "node:os";
import { basename, join } from "node:path";
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
  const values = readOptions();
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
  const settings = [
    `VERSION=${version}`,
    `REVISION=${revision()}`,
    `TARGET=${architectures[architecture as Architecture]}`,
  ];
  // All that it needs is in the context and in the base.
  const build = ["build", "--tag", tag, "--network", "none", ...settings.flatMap((one) => ["--build-arg", one])];
  // The other form has no health check.
  if (basename(engine) === "podman") build.push("--format", "docker");
  if (values.base !== undefined) build.push("--build-arg", `BASE=${values.base}`);
  if (values.arch !== undefined) build.push("--platform", `linux/${architecture}`);
  const { status } = spawnSync(engine, [...build, context], { stdio: "inherit" });
  if (status !== 0) throw new Error(buildFailure(engine, status, architecture as Architecture, values.base));
  process.stdout.write(`${tag}; bill of materials: dist/sbom.cdx.json\n`);
  return 0;
}

function readOptions() {
  try {
    return parseArgs({
      options: {
        tag: { type: "string" },
        base: { type: "string" },
        arch: { type: "string" },
        engine: { type: "string" },
        "context-only": { type: "boolean" },
        help: { type: "boolean" },
      },
    }).values;
  } catch (error) {
    throw new Error(`${(error as Error).message}\n  remedy: npm run image -- --help tells the options.`);
  }
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

/** Of a build whose own words are above it. */
function buildFailure(
  engine: string,
  status: number | null,
  architecture: Architecture,
  base: string | undefined,
): string {
  const hints = [
    ...(architectures[architecture] === arch()
      ? []
      : [`to build for ${architecture} here the engine needs an emulator: qemu-user-static, known to binfmt_misc`]),
    ...(base === undefined
      ? ["the base comes from a registry: where that can't be reached, give --base an image that the engine has"]
      : [`the base ${base} must be an image that the engine has or can pull`]),
  ];
  return `${engine} build failed (exit ${status}): its output is above\n  ${hints.join("\n  ")}`;
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
