// Contract: the package's bin has the administrative commands, and passes every other one on to the runtime as it is.
import { execFile } from "node:child_process";
import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import { describe, expect, it } from "vitest";
import { sourceOf } from "../../../provider/commands/source-options";
import { version } from "../../../runtime/version";

const root = resolve(__dirname, "../../..");
const manifest = JSON.parse(readFileSync(resolve(root, "package.json"), "utf8")) as { bin: { sluice: string } };

interface Ended {
  code: number | null;
  stdout: string;
  stderr: string;
}

function sluice(argv: string[], main = manifest.bin.sluice): Promise<Ended> {
  return new Promise((done) => {
    const child = execFile(process.execPath, [resolve(root, main), ...argv], (_error, stdout, stderr) =>
      done({ code: child.exitCode, stdout, stderr }),
    );
  });
}

describe("the bin", () => {
  it("passes on what isn't administration: the same output and exit code as the runtime's", async () => {
    const passed = [["--version"], ["status"], ["gateway", "--config", "/none.json"], ["resync", "--all"], ["nothing"]];
    const both = await Promise.all(
      passed.flatMap((argv) => [sluice(argv), sluice(argv, "dist/runtime/main.js")] as const),
    );
    const withoutTime = ({ stderr, ...rest }: Ended) => ({ ...rest, stderr: stderr.replaceAll(/"\d{4}-[^"]*Z"/g, "") });
    for (let index = 0; index < both.length; index += 2) {
      expect(withoutTime(both[index])).toEqual(withoutTime(both[index + 1]));
    }
    expect(both.map(({ code }) => code)).toEqual([0, 0, 78, 78, 78, 78, 78, 78, 64, 64]);
    expect(both[0].stdout).toBe(`${version}\n`);
    // What a person has called tells a person, a process its log.
    expect(both[2].stderr).toMatch(/^sluice status: --config FILE is missing\n {2}remedy: /);
    expect(JSON.parse(both[4].stderr)).toMatchObject({ event: "stopped", kind: "config" });
  });

  it("tells all commands in its help", async () => {
    const { code, stdout } = await sluice(["--help"]);
    expect(code).toBe(0);
    for (const name of ["gateway", "applier", "status", "runs", "resync", "supervise"]) {
      expect(stdout).toContain(`  sluice ${name} `);
    }
    expect((await sluice([])).code).toBe(64);
  });
});

describe("the source of a command", () => {
  const parse = (values: Parameters<typeof sourceOf>[1]) => sourceOf("slots", values);

  it("is a URL without a password, which comes by reference", () => {
    expect(parse({ from: "postgres://an%40a@db.internal:5433/sh%2Fop", "password-env": "PW" })).toMatchObject({
      host: "db.internal",
      port: 5433,
      user: "an@a",
      database: "sh/op",
      password: { env: "PW" },
    });
    expect(parse({ from: "postgresql://a@[::1]/d?sslmode=require", "password-file": "/pw" })).toMatchObject({
      host: "::1",
      port: 5432,
      sslMode: "require",
      password: { file: "/pw" },
    });
  });

  // Invariant 6: no secret leaves the place it was given to.
  it.each([
    "postgres://ana:hunter2@db/shop",
    "postgres://ana@db/shop?password=hunter2",
    "hunter2@db",
    "mysql://ana:hunter2@db/shop",
    "postgres://ana@db/shop?pw=hunter2",
    "postgres://%E0:@db/hunter2%",
    "postgres://db/hunter2",
  ])("refuses %s without repeating it", (from) => {
    expect(() => parse({ from })).toThrow(expect.objectContaining({ kind: "config", remedy: expect.any(String) }));
    try {
      parse({ from });
    } catch (error) {
      expect(String(error)).not.toContain("hunter2");
    }
  });

  it("is either a URL or a gateway's configuration, with one password", () => {
    expect(() => parse({})).toThrow("either --from or --config");
    expect(() => parse({ from: "postgres://a@b/c", config: "x" })).toThrow("either --from or --config");
    expect(() => parse({ from: "postgres://a@b/c", "password-env": "A", "password-file": "B" })).toThrow("exclude");
    expect(() => parse({ config: "/none.json" })).toThrow("can't be read");
    expect(() => parse({ config: resolve(root, "package.json") })).toThrow("no gateway's configuration");
  });
});
