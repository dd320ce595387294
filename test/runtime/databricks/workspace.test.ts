// Contract: host and identity are found as Databricks' own programs find them; what lacks is told with the remedy; secrets
// stay references until they are used (invariant 6).
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { completeSettings, resolveWorkspace } from "../../../runtime/databricks/workspace";
import { normalizeHost, workspaceSchema } from "../../../runtime/databricks-config";
import { SluiceError } from "../../../runtime/errors";

let folder: string;
let configFile: string;
const host = "https://adb-1.2.azuredatabricks.net";

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "sluice-databrickscfg-"));
  configFile = join(folder, "databrickscfg");
  writeFileSync(
    configFile,
    [
      "; of the test",
      "[DEFAULT]",
      `host = ${host}/`,
      "token = dapi#with;signs",
      "[service]",
      "host=adb-1.2.azuredatabricks.net",
      "client_id = 11111111-2222-3333-4444-555555555555",
      "client_secret = dose1234",
      "[person]",
      `host = ${host}`,
      "auth_type = databricks-cli",
      "[none]",
      "token = dapi",
    ].join("\n"),
  );
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const resolve = (settings: object, environment: Record<string, string> = {}) =>
  resolveWorkspace(workspaceSchema.parse(settings), { DATABRICKS_CONFIG_FILE: configFile, ...environment });

const failure = (settings: object, environment: Record<string, string> = {}) => {
  try {
    resolve(settings, environment);
  } catch (error) {
    return error as SluiceError;
  }
  throw new Error("nothing was thrown");
};

describe("host", () => {
  it.each([
    ["adb-1.2.azuredatabricks.net", host],
    [`${host}/?o=1234`, host],
    ["https://dbc-1.cloud.databricks.com:443/", "https://dbc-1.cloud.databricks.com"],
    ["http://127.0.0.1:8080", "http://127.0.0.1:8080"],
    ["http://adb-1.2.azuredatabricks.net", null],
    ["https://user:password@adb-1.2.azuredatabricks.net", null],
    ["ftp://adb-1.2.azuredatabricks.net", null],
    ["", null],
  ])("%s", (given, expected) => {
    expect(normalizeHost(given)).toBe(expected);
  });
});

describe("settings", () => {
  it("are one identity", () => {
    const problems = (settings: object) =>
      workspaceSchema.safeParse(settings).error?.issues.map(({ path }) => path.join("."));
    expect(problems({ host, token: { env: "T" } })).toBeUndefined();
    expect(problems({ host, clientId: "a" })).toEqual(["clientSecret"]);
    expect(problems({ host, token: { env: "T" }, profile: "x" })).toEqual(["profile"]);
    expect(problems({ host, configFile: "x" })).toEqual(["configFile"]);
    expect(problems({ host: "http://elsewhere" })).toEqual(["host"]);
  });

  it("are completed by the environment, with references for secrets", () => {
    expect(completeSettings({}, { DATABRICKS_HOST: host, DATABRICKS_TOKEN: "dapi" })).toEqual({
      host,
      token: { env: "DATABRICKS_TOKEN" },
    });
    const service = { DATABRICKS_CLIENT_ID: "id", DATABRICKS_CLIENT_SECRET: "secret", DATABRICKS_TOKEN: "dapi" };
    expect(completeSettings({ host }, service)).toEqual({
      host,
      clientId: "id",
      clientSecret: { env: "DATABRICKS_CLIENT_SECRET" },
    });
    const profile = { DATABRICKS_CONFIG_PROFILE: "service", DATABRICKS_CONFIG_FILE: configFile };
    expect(completeSettings({}, profile)).toEqual({ profile: "service", configFile });
    expect(completeSettings({}, { DATABRICKS_CONFIG_FILE: configFile })).toEqual({ profile: "DEFAULT", configFile });
  });
});

describe("identity", () => {
  it("is a profile's, whose secrets may have signs of comments in them", () => {
    const byDefault = resolve({});
    expect(byDefault.host).toBe(host);
    expect(byDefault.identity.kind === "token" && byDefault.identity.readToken()).toBe("dapi#with;signs");
    const service = resolve({ profile: "service" });
    expect(service.host).toBe(host);
    expect(service.identity.kind === "oauth" && service.identity.readSecret()).toBe("dose1234");
  });

  it.each([
    [{ profile: "absent" }, {}, /has no profile absent \(it has: DEFAULT, service, person, none\)/],
    [{ profile: "person" }, {}, /neither token nor client_id and client_secret/],
    [{ profile: "none" }, {}, /has no host/],
    [{ profile: "x", configFile: "/nowhere/cfg" }, {}, /\/nowhere\/cfg can't be read/],
    [{}, { DATABRICKS_CONFIG_FILE: "/nowhere/cfg" }, /no workspace is named/],
    [{ host }, { DATABRICKS_CONFIG_FILE: "/nowhere/cfg" }, /nothing says who we are/],
    [{ host, token: { env: "UNSET_HERE" } }, {}, /UNSET_HERE is not set/],
  ])("%j with %j is told as missing", (settings, environment, told) => {
    const error = failure(settings, environment);
    expect(error).toBeInstanceOf(SluiceError);
    expect(error.kind).toBe("config");
    expect(error.message).toMatch(told);
    expect(error.remedy).toBeDefined();
  });
});
