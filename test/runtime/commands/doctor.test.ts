// Contract: `sluice doctor databricks` tells what a workspace lacks for us, each with the statement that gives it, and exits
// with 0 only when nothing has failed; it changes nothing, and tells no secret (invariant 6).
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { type DoctorOptions, printDatabricksHealth } from "../../../runtime/commands/doctor";
import { applierConfigSchema } from "../../../runtime/config";
import { findingOf, neededFor } from "../../../runtime/databricks/access-check";
import { grantStatement } from "../../../runtime/databricks/privileges";
import { DatabricksWorkspace } from "../../support/databricks-workspace";

const volume = "main.sluice.staging";
let workspace: DatabricksWorkspace;
let folder: string;
let said: string;

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), "sluice-doctor-"));
  workspace = await DatabricksWorkspace.open();
  await workspace.files.makeVolume(volume);
  said = "";
  vi.spyOn(process.stdout, "write").mockImplementation((text) => {
    said += String(text);
    return true;
  });
  vi.stubEnv("DATABRICKS_CONFIG_FILE", join(folder, "none"));
});
afterEach(async () => {
  vi.restoreAllMocks();
  vi.unstubAllEnvs();
  await workspace.close();
  rmSync(folder, { recursive: true, force: true });
});

function logIn(groups: string[] = []): string {
  const { clientId, clientSecret } = workspace.addServicePrincipal(groups);
  vi.stubEnv("DATABRICKS_CLIENT_ID", clientId);
  vi.stubEnv("DATABRICKS_CLIENT_SECRET", clientSecret);
  return clientId;
}

const ask = (options: Partial<DoctorOptions> = {}) =>
  printDatabricksHealth({ host: workspace.host, volume, asJson: false, ...options });

describe("the doctor", () => {
  it("finds a workspace well, by what a group holds and what is inherited", async () => {
    const clientId = logIn(["loaders"]);
    workspace.catalog.grantVolume(volume, "loaders");
    workspace.catalog.grant("main", "loaders", "CREATE_TABLE", "SELECT", "MODIFY");
    workspace.warehouses.set("abc", { name: "small", state: "STOPPED" });
    expect(await ask({ schema: "main.sluice", warehouse: "abc" })).toBe(0);
    expect(said).toContain(`ok       identity ${clientId}`);
    expect(said).toContain("small is STOPPED");
    expect(said).not.toContain("FAILED");
    expect(
      workspace.requests.filter(({ method, path }) => method !== "GET" && method !== "HEAD" && !path.includes("oidc")),
    ).toEqual([]);
  });

  it("tells each privilege that lacks, with its GRANT", async () => {
    const clientId = logIn();
    workspace.catalog.grantVolume(volume, clientId);
    workspace.catalog.revoke(volume, clientId, "WRITE_VOLUME");
    workspace.catalog.revoke("main", clientId, "USE_CATALOG");
    expect(await ask({ schema: "main.sluice", warehouse: "none", asJson: true })).toBe(1);
    const { isWell, findings } = JSON.parse(said) as { isWell: boolean; findings: Record<string, string>[] };
    expect(isWell).toBe(false);
    const remedies = findings.filter(({ result }) => result === "failed").map(({ check, remedy }) => [check, remedy]);
    expect(remedies).toEqual([
      ["catalog", `GRANT USE CATALOG ON CATALOG \`main\` TO \`${clientId}\`;`],
      ["schema", `GRANT CREATE TABLE, SELECT, MODIFY ON SCHEMA \`main\`.\`sluice\` TO \`${clientId}\`;`],
      ["volume", `GRANT WRITE VOLUME ON VOLUME \`main\`.\`sluice\`.\`staging\` TO \`${clientId}\`;`],
      ["files", expect.stringContaining("GRANT USE CATALOG ON CATALOG `main`")],
      ["warehouse", expect.stringContaining("SQL Warehouses")],
    ]);
    expect(said).not.toContain(process.env.DATABRICKS_CLIENT_SECRET);
  });

  it("tells what isn't there, and who isn't let in", async () => {
    logIn();
    expect(await ask({ volume: "main.sluice.other" })).toBe(1);
    expect(said).toContain("CREATE VOLUME `main`.`sluice`.`other`");
    vi.stubEnv("DATABRICKS_CLIENT_SECRET", "wrong-canary");
    said = "";
    expect(await ask()).toBe(1);
    expect(said).toMatch(/^FAILED {3}identity .*gives no token/);
    expect(said).not.toContain("wrong-canary");
  });

  it("tells what Databricks' own pipelines lack, and asks no more for them", async () => {
    const clientId = logIn();
    workspace.catalog.catalogs.add("main");
    for (const schema of ["main.shop", "main.landing"]) workspace.catalog.schemas.add(schema);
    workspace.catalog.connections.add("shop_db");
    workspace.catalog.grant("main", clientId, "USE_CATALOG");
    workspace.catalog.grant("main.shop", clientId, "USE_SCHEMA", "CREATE_TABLE");
    workspace.catalog.grant("main.landing", clientId, "USE_SCHEMA");
    const managed = { volume: undefined, managed: true, schema: "main.shop", gatewaySchema: "main.landing" };
    expect(await ask({ ...managed, connection: "shop_db", asJson: true })).toBe(1);
    const { findings } = JSON.parse(said) as { findings: Record<string, string>[] };
    expect(findings.map(({ check, object, result }) => `${check} ${object} ${result}`).slice(1)).toEqual([
      "catalog main ok",
      "schema main.shop ok",
      "schema main.landing failed",
      "connection shop_db failed",
    ]);
    const remedies = findings.flatMap(({ remedy }) => remedy ?? []);
    expect(remedies).toEqual([
      `GRANT CREATE TABLE, CREATE VOLUME ON SCHEMA \`main\`.\`landing\` TO \`${clientId}\`;`,
      `GRANT USE CONNECTION ON CONNECTION \`shop_db\` TO \`${clientId}\`;`,
    ]);
    said = "";
    expect(await ask({ ...managed, connection: "none" })).toBe(1);
    expect(said).toMatch(/there is no connection none[\s\S]*GRANT CREATE CONNECTION ON METASTORE/);
    await expect(ask({ connection: "shop_db" })).rejects.toThrow(/Databricks' own pipelines/);
  });

  it("takes workspace and volume from a process's configuration", async () => {
    const token = await workspace.addVolume(volume);
    writeFileSync(join(folder, "token"), token);
    const config = applierConfigSchema.parse({
      version: 1,
      role: "applier",
      id: "shop",
      statusPath: join(folder, "status.json"),
      stagingPath: "/Volumes/main/sluice/staging/shop",
      staging: {
        kind: "volume",
        workspace: { host: workspace.host, token: { file: join(folder, "token") } },
        localPath: join(folder, "local"),
      },
      destination: { kind: "local", path: join(folder, "lake") },
    });
    expect(await printDatabricksHealth({ config, asJson: false })).toBe(0);
    expect(said).toContain("volume main.sluice.staging: ingest@example.com holds READ VOLUME, WRITE VOLUME");
  });

  it.each([{ volume: "staging" }, { schema: "sluice" }, { host: "http://elsewhere" }, { host: undefined }])(
    "refuses %j",
    async (options) => {
      await expect(ask(options)).rejects.toMatchObject({ kind: "config" });
    },
  );
});

describe("findings", () => {
  it("ask once for each object, and say what can't be seen", () => {
    const needed = neededFor({ volume, schema: "main.sluice" });
    expect(needed.map(({ name }) => name)).toEqual(["main", "main.sluice", volume]);
    expect(needed[1].privileges).toEqual(["USE_SCHEMA", "CREATE_TABLE", "SELECT", "MODIFY"]);
    expect(findingOf(needed[2], { kind: "hidden" }, "me")).toMatchObject({ result: "unknown" });
    expect(findingOf(needed[2], { kind: "owner" }, "me")).toMatchObject({ result: "ok" });
    expect(findingOf(needed[2], { kind: "held", privileges: ["ALL_PRIVILEGES"] }, "me")).toMatchObject({
      result: "ok",
    });
    expect(grantStatement({ type: "schema", name: "a.b`c", privileges: ["USE_SCHEMA"] }, "x`y")).toBe(
      "GRANT USE SCHEMA ON SCHEMA `a`.`b``c` TO `x``y`;",
    );
  });
});
