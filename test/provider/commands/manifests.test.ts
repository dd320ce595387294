// Contract: `sluice manifests` prints what the Kubernetes target applies, of the same inputs: golden files hold every object
// (written anew by `npx vitest run test/provider/commands/manifests.test.ts -u`, and then read by a person). Printed
// manifests hold no secret (invariant 6); what is wrong with the inputs is told before anything is printed, each at its place.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { afterAll, describe, expect, it, vi } from "vitest";
import { parse, parseAllDocuments } from "yaml";
import { manifests } from "../../../provider/commands/manifests";
import { manifestObjects } from "../../../provider/commands/manifests-input";
import { manifestText } from "../../../provider/deploy/kubernetes-yaml";
import { version } from "../../../runtime/version";

const fixtures = resolve(__dirname, "../../fixtures/manifests");
const folder = mkdtempSync(join(tmpdir(), "sluice-manifests-"));
afterAll(() => {
  vi.restoreAllMocks();
  rmSync(folder, { recursive: true, force: true });
});

const inputs = (name: string) => parse(readFileSync(join(fixtures, `${name}.yaml`), "utf8"));
/** Without what every release changes. */
const released = (text: string) =>
  text.replaceAll(version, "VERSION").replaceAll(/(pulumi-sluice\.com\/specification: )\w+/g, "$1DIGEST");

async function run(...argv: string[]): Promise<string> {
  let text = "";
  const write = vi.spyOn(process.stdout, "write").mockImplementation((chunk) => {
    text += String(chunk);
    return true;
  });
  try {
    expect(await manifests.run(argv)).toBe(0);
  } finally {
    write.mockRestore();
  }
  return text;
}

describe("the manifests", () => {
  it.each(["smallest", "everything", "once", "volume", "warehouse"])("of %s are the golden ones", async (name) => {
    const text = await run("--file", join(fixtures, `${name}.yaml`));
    await expect(released(text)).toMatchFileSnapshot(join(fixtures, `${name}.golden.yaml`));
  });

  it("are the same documents as YAML and as JSON", async () => {
    const file = join(fixtures, "everything.yaml");
    const { kind, items } = JSON.parse(await run("--file", file, "--json"));
    expect(kind).toBe("List");
    expect(parseAllDocuments(await run("--file", file)).map((document) => document.toJS())).toEqual(items);
    expect(manifestText(items)).toBe(await run("--file", file));
  });

  it("take what a stack tells where the inputs don't", async () => {
    const { source, publicationName, slotName, ...rest } = inputs("smallest");
    const [file, outputs] = [join(folder, "rest.json"), join(folder, "outputs.json")];
    writeFileSync(file, JSON.stringify(rest));
    writeFileSync(outputs, JSON.stringify({ source, publicationName, slotName, lake: "/ignored" }));
    const text = await run("--file", file, "--stack-outputs", outputs);
    expect(text).toBe(await run("--file", join(fixtures, "smallest.yaml")));
    expect(() => manifestObjects(rest)).toThrow(/publicationName[\s\S]*slotName/);
    const { slotName: other } = JSON.parse(JSON.stringify({ slotName: "given" }));
    expect(
      JSON.stringify(manifestObjects({ ...rest, slotName: other }, { source, publicationName, slotName })),
    ).toContain('\\"slot\\": \\"given\\"');
  });

  it("change by their digest when the configuration does", () => {
    const digestsOf = (given: object) =>
      JSON.stringify(manifestObjects(given)).match(/pulumi-sluice.com\/specification":"\w+/g) as string[];
    const before = digestsOf(inputs("smallest"));
    const after = digestsOf({ ...inputs("smallest"), gateway: { pollMs: 500 } });
    expect(after[0]).not.toBe(before[0]);
    expect(after[1]).toBe(before[1]);
  });
});

describe("a manifest", () => {
  const refused = (given: unknown) => {
    try {
      manifestObjects(given);
    } catch (error) {
      return String((error as Error).message) + String((error as { remedy?: string }).remedy);
    }
    return "";
  };

  it("holds no secret, and says which Secret has to be there", () => {
    const { existingSecret, ...deployment } = inputs("everything").deployment;
    expect(existingSecret).toBe("shop-source");
    expect(refused({ ...inputs("everything"), deployment })).toContain(
      "a Secret of the namespace lakehouse with the keys ca.crt, password",
    );
    const source = { ...inputs("smallest").source, password: "hunter2" };
    const message = refused({ ...inputs("smallest"), source });
    expect(message).toContain("existingSecret");
    expect(message).not.toContain("hunter2");
  });

  it("isn't made of inputs that are wrong, which are all told", () => {
    const message = refused({ ...inputs("smallest"), gateway: { pollMs: 1 }, applier: { trigger: { kind: "often" } } });
    expect(message).toMatch(/pollMs[\s\S]*trigger/);
    expect(refused({ ...inputs("smallest"), tables: [] })).toContain("tables");
    expect(refused({ ...inputs("smallest"), deployment: { kind: "docker" } })).toContain("deployment.kind");
    expect(refused(null)).toContain("inputs are wrong");
  });

  it("isn't made of what can't run in a pod", () => {
    const source = { ...inputs("smallest").source, host: "localhost" };
    expect(refused({ ...inputs("smallest"), source })).toContain("is the pod itself");
    const { destinationClaim, ...deployment } = inputs("smallest").deployment;
    expect(destinationClaim).toBe("lake");
    expect(refused({ ...inputs("smallest"), deployment })).toContain("deployment.destinationClaim");
    const twice = { ...inputs("smallest").source, password: { file: "/a/x" }, sslRootCertFile: "/b/x" };
    expect(refused({ ...inputs("smallest"), source: twice })).toContain("the key x");
    const workspace = {
      host: "https://x.cloud.databricks.com",
      token: { env: "T" },
      stagedPath: "/Volumes/main/s/v/f",
    };
    const destination = { kind: "databricks", mode: "warehouse", warehouseId: "1", catalog: "main", schema: "s" };
    expect(refused({ ...inputs("smallest"), destination: { ...destination, ...workspace } })).toMatch(
      /can't write to a warehouse[\s\S]*Unity Catalog volume/,
    );
  });

  it("isn't read from what isn't there, or isn't an object", async () => {
    await expect(run("--file", join(folder, "absent"))).rejects.toThrow("absent can't be used");
    writeFileSync(join(folder, "list.json"), "[]");
    await expect(
      run("--file", join(fixtures, "once.yaml"), "--stack-outputs", join(folder, "list.json")),
    ).rejects.toThrow("it is no object");
    writeFileSync(join(folder, "broken.yaml"), "password: [hunter2");
    await expect(run("--file", join(folder, "broken.yaml"))).rejects.not.toThrow("hunter2");
    await expect(run()).rejects.toThrow("--file is missing");
  });
});
