// Contract: the image's context is the runtime as one file with its native files beside it; it runs by Node alone, the same
// sources make the same bytes, and its bill of materials names exactly the packages that are in it, as the lock file has
// them.
import { execFileSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { billOfMaterials } from "../../image/bill-of-materials";
import { type Architecture, makeContext } from "../../image/context";
import { version } from "../../runtime/version";

const root = resolve(__dirname, "..", "..");
const architecture: Architecture = process.arch === "arm64" ? "arm64" : "amd64";

describe.runIf(process.platform === "linux")("the image's context", () => {
  const folder = mkdtempSync(join(tmpdir(), "sluice-context-"));
  const file = (name: string) => join(folder, "first", "sluice", name);
  const run = (...args: string[]) => execFileSync(process.execPath, args, { encoding: "utf8", cwd: folder, env: {} });

  beforeAll(() => makeContext(root, join(folder, "first"), architecture));
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  it("is a few files, with no folder of packages", () => {
    const names = [
      "LICENSE",
      "databricks-sql.js",
      "duckdb.node",
      "index.wasm",
      "libduckdb.so",
      "main.js",
      "package.json",
      "sbom.cdx.json",
    ];
    expect(readdirSync(join(folder, "first", "sluice")).sort()).toEqual(names);
    expect(readdirSync(join(folder, "first")).sort()).toEqual(["Dockerfile", "collect.sh", "sluice"]);
    expect(readFileSync(file("main.js"), "utf8")).not.toContain(root);
  });

  it("runs with nothing else, and finds its version", () => {
    expect(run(file("main.js"), "--version")).toBe(`${version}\n`);
    expect(run(file("main.js"), "--help")).toContain("sluice gateway");
  });

  it("loads DuckDB and roaring: an applier runs once over an empty staging", () => {
    const config = { version: 1, role: "applier", id: "a", statusPath: join(folder, "status.json") };
    const places = { stagingPath: join(folder, "staging"), destination: { kind: "local", path: join(folder, "lake") } };
    writeFileSync(join(folder, "config.json"), JSON.stringify({ ...config, ...places, trigger: { kind: "once" } }));
    run(file("main.js"), "applier", "--config", join(folder, "config.json"));
    expect(JSON.parse(readFileSync(join(folder, "status.json"), "utf8"))).toMatchObject({ state: { kind: "stopped" } });
  });

  it("has the client of warehouses beside it, which looks for one", () => {
    expect(readFileSync(file("main.js"), "utf8")).toContain('import("./databricks-sql.js")');
    const address = JSON.stringify({ host: "127.0.0.1", port: 9, path: "/sql/1.0/warehouses/w", token: "a token" });
    const script = `import(${JSON.stringify(file("databricks-sql.js"))})
      .then(({ DBSQLClient }) => new DBSQLClient({ logger: { log: () => {} } }).connect(${address}))
      .then((client) => client.openSession())
      .catch(({ code }) => { console.log(code); process.exit(); });`;
    expect(run("-e", script)).toBe("ECONNREFUSED\n");
  });

  it("is the same when it is made again, times of files too", async () => {
    await makeContext(root, join(folder, "second"), architecture);
    for (const name of readdirSync(join(folder, "first", "sluice"))) {
      const again = join(folder, "second", "sluice", name);
      expect(readFileSync(again).equals(readFileSync(file(name))), name).toBe(true);
      expect(statSync(again).mtimeMs, name).toBe(0);
    }
  });

  it("has a bill of materials of what is in it", () => {
    const bill = JSON.parse(readFileSync(file("sbom.cdx.json"), "utf8")) as {
      components: { name: string; version: string; hashes: { content: string }[]; purl: string }[];
    };
    expect(bill).toMatchObject({ bomFormat: "CycloneDX", specVersion: "1.5", version: 1 });
    const names = bill.components.map(({ name }) => name);
    expect(names).toEqual(expect.arrayContaining(["pg", "zod", "roaring-wasm", "@duckdb/node-api"]));
    expect(names).toContain(`@duckdb/node-bindings-linux-${process.arch}`);
    // Neither the provider's packages nor the tests'.
    for (const absent of ["@pulumi/pulumi", "dockerode", "typescript", "esbuild"]) expect(names).not.toContain(absent);
    for (const { hashes } of bill.components) expect(hashes[0].content).toMatch(/^[0-9a-f]{128}$/);
  });
});

it("a bill of materials has a serial number of its content", () => {
  const one = {
    version: "1.0.0",
    packages: { "node_modules/a/node_modules/@b/c": { version: "2.0.0", license: "MIT" } },
  };
  const text = billOfMaterials(one);
  expect(billOfMaterials(one)).toBe(text);
  expect(JSON.parse(text).serialNumber).toMatch(
    /^urn:uuid:[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/,
  );
  expect(JSON.parse(text).components[0]).toMatchObject({ name: "@b/c", purl: "pkg:npm/%40b/c@2.0.0" });
  expect(JSON.parse(billOfMaterials({ ...one, version: "1.0.1" })).serialNumber).not.toBe(
    JSON.parse(text).serialNumber,
  );
});
