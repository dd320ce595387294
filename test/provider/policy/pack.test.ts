// Contract: the example's policy pack, run by Pulumi's own launcher and asked as the engine asks it, refuses what each rule
// is for at the level that is declared or configured, and lets a stack that is right pass.
import { type ChildProcess, spawn } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { createInterface } from "node:readline";
import grpc from "@grpc/grpc-js";
import { Struct } from "google-protobuf/google/protobuf/struct_pb";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { until } from "../../support/conditions";

const root = resolve(__dirname, "../../..");
const analyzer = require("@pulumi/pulumi/proto/analyzer_pb") as Record<string, new () => Message>;
const { AnalyzerClient } = require("@pulumi/pulumi/proto/analyzer_grpc_pb") as {
  AnalyzerClient: new (address: string, credentials: grpc.ChannelCredentials) => grpc.Client & Record<string, Call>;
};

interface Message {
  [method: string]: (...args: unknown[]) => unknown;
}
type Call = (request: unknown, done: (error: Error | null, response: Message) => void) => void;
interface Diagnostic {
  policyname: string;
  message: string;
  enforcementlevel: number;
}

let folder: string;
let child: ChildProcess;
let client: grpc.Client & Record<string, Call>;
let said = "";

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "sluice-policy-"));
  const pack = join(folder, "policy");
  cpSync(join(root, "examples/gitops/policy"), pack, { recursive: true });
  // As npm would lay it out.
  mkdirSync(join(folder, "node_modules"));
  symlinkSync(root, join(folder, "node_modules", "pulumi-sluice"));
  for (const name of ["@pulumi", "@types", "typescript"]) {
    symlinkSync(join(root, "node_modules", name), join(folder, "node_modules", name));
  }
  const launcher = require.resolve("@pulumi/pulumi/cmd/run-policy-pack");
  child = spawn(process.execPath, [launcher, "127.0.0.1:1", pack], { cwd: pack, stdio: ["ignore", "pipe", "pipe"] });
  let port = "";
  createInterface({ input: child.stdout! }).on("line", (line) => {
    if (/^\d+$/.test(line)) port = line;
    else said += `${line}\n`;
  });
  child.stderr!.on("data", (text) => {
    said += text;
  });
  await until("the pack listens", () => {
    if (child.exitCode !== null) throw new Error(`the pack ended: ${said}`);
    return port !== "";
  });
  client = new AnalyzerClient(`127.0.0.1:${port}`, grpc.credentials.createInsecure());
});

afterAll(() => {
  client?.close();
  child?.kill();
  if (folder !== undefined) rmSync(folder, { recursive: true, force: true });
});

function call(method: string, request: unknown): Promise<Message> {
  return new Promise((done, fail) => {
    client[method](request, (error, response) => (error === null ? done(response) : fail(error)));
  });
}

async function analyze(kind: string, inputs: Record<string, unknown>, isProtected = false): Promise<string[]> {
  const request = new analyzer.AnalyzeRequest();
  const type = `pulumi-nodejs:dynamic/sluice:${kind}`;
  request.setType(type);
  request.setName("orders");
  request.setUrn(`urn:pulumi:dev::shop::${type}::orders`);
  request.setProperties(Struct.fromJavaScript(inputs as never));
  const options = new analyzer.AnalyzerResourceOptions();
  options.setProtect(isProtected);
  request.setOptions(options);
  const response = (await call("analyze", request)).toObject() as { diagnosticsList: Diagnostic[] };
  return response.diagnosticsList.map(
    ({ policyname, enforcementlevel }) => `${policyname} ${["advisory", "mandatory"][enforcementlevel]}`,
  );
}

describe("the pack", () => {
  it("tells its policies", async () => {
    const info = (
      await call("getAnalyzerInfo", new (require("google-protobuf/google/protobuf/empty_pb").Empty)())
    ).toObject();
    expect(info).toMatchObject({ name: "sluice", version: "1.0.0" });
    const { policiesList } = info as { policiesList: { name: string; configschema?: { propertiesMap?: unknown } }[] };
    expect(policiesList.map(({ name }) => name)).toEqual([
      "slot-retention-capped",
      "password-by-reference",
      "tls-on",
      "dropped-tables-protected",
      "full-identity-narrow",
    ]);
  });

  const source = {
    host: "db.internal",
    database: "shop",
    user: "sluice",
    password: { env: "PW" },
    sslMode: "verify-full",
  };

  it("refuses what each rule is for", async () => {
    const wrong = { ...source, password: "hunter2", sslMode: "disable" };
    expect(await analyze("Connection", wrong)).toEqual([
      "slot-retention-capped mandatory",
      "password-by-reference advisory",
      "tls-on mandatory",
    ]);
    expect(await analyze("IngestionPipeline", { onDelete: "drop" })).toEqual(["dropped-tables-protected mandatory"]);
    expect(await analyze("Publication", { source, fullIdentity: [{ schema: "public", name: "t" }] })).toEqual([
      "full-identity-narrow advisory",
    ]);
  });

  it("lets pass what is right, and what isn't of this package", async () => {
    expect(await analyze("Connection", { ...source, uncappedSlotWal: "error" })).toEqual([]);
    expect(await analyze("IngestionPipeline", { onDelete: "drop" }, true)).toEqual([]);
    expect(await analyze("Publication", { source, tables: [{ schema: "public", name: "t" }] })).toEqual([]);
    expect(await analyze("Gateway", { source })).toEqual([]);
  });

  it("goes by the engine's configuration", async () => {
    const request = new analyzer.ConfigureAnalyzerRequest();
    const config = new analyzer.PolicyConfig();
    config.setEnforcementlevel(1);
    config.setProperties(Struct.fromJavaScript({ sslModeMin: "verify-full" }));
    const map = request.getPolicyconfigMap() as { set(key: string, value: Message): void };
    map.set("tls-on", config);
    await call("configure", request);
    const encrypted = { ...source, sslMode: "require", uncappedSlotWal: "error" };
    expect(await analyze("Connection", encrypted)).toEqual(["tls-on mandatory"]);
  });

  it("says no secret", () => {
    expect(said).not.toContain("hunter2");
  });
});
