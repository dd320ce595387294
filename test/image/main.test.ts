// Contract: npm run image says at once what is wrong with its options, and which engine it looked for and why none answers;
// a build gets the package's version, the tag that the provider takes by default, and the architecture of its bundle; one that
// fails says what it may be. (The engine is a stand-in that answers by its exit codes; a real one builds in the containers
// lane.)
import { spawnSync } from "node:child_process";
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, join, resolve } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { defaultImage } from "../../provider/deploy/docker-image";
import { version } from "../../runtime/version";

const main = resolve(__dirname, "../../dist/image/main.js");
const folder = mkdtempSync(join(tmpdir(), "sluice-engines-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function engine(name: string, script: string): string {
  const path = join(folder, name);
  writeFileSync(path, `#!/bin/sh\n${script}\n`);
  chmodSync(path, 0o755);
  return name;
}

function run(...args: string[]) {
  const PATH = `${folder}${delimiter}${process.env.PATH}`;
  return spawnSync(process.execPath, [main, ...args], { encoding: "utf8", env: { ...process.env, PATH } });
}

describe("npm run image", () => {
  it.each([
    [["--arch", "riscv64"], /no bundle for --arch riscv64: use amd64 or arm64/],
    [["--warp"], /Unknown option '--warp'[\s\S]*npm run image -- --help/],
    [
      ["--engine", "sluice-no-engine"],
      /no container engine answers\n {2}sluice-no-engine: not installed\n {2}remedy: /,
    ],
  ])("with %j says what is wrong", (args, message) => {
    const { status, stderr } = run(...args);
    expect(status).toBe(1);
    expect(stderr).toMatch(message);
  });

  it("tells what an engine says that doesn't answer", () => {
    const name = engine("mute-engine", 'echo "Cannot connect to the daemon at unix:///nowhere." >&2; exit 1');
    const { status, stderr } = run("--engine", name);
    expect(status).toBe(1);
    expect(stderr).toContain("mute-engine: Cannot connect to the daemon at unix:///nowhere.");
  });

  it.runIf(process.platform === "linux")("builds the provider's default image, and says what a failure may be", () => {
    const told = join(folder, "arguments");
    const name = engine("odd-engine", `[ "$1" = version ] && exit 0; printf '%s\\n' "$@" >'${told}'; exit 3`);
    const { status, stderr } = run("--engine", name, "--base", "local-base:1");
    const args = readFileSync(told, "utf8").trimEnd().split("\n");
    expect(args.slice(0, 3)).toEqual(["build", "--tag", defaultImage]);
    expect(args).toEqual(expect.arrayContaining([`VERSION=${version}`, "BASE=local-base:1", `TARGET=${process.arch}`]));
    expect(status).toBe(1);
    expect(stderr).toMatch(
      /odd-engine build failed \(exit 3\)[\s\S]*local-base:1 must be an image that the engine has/,
    );
  });
});
