// Contract: each example is previewed as it stands, and can be copied; several pipelines on one database have slots, publications and folders
// of their own, and are destroyed without a trace; the template is a program once its names are filled in; the workflows
// and the operator's Stack are YAML that names what is there.
// Invariant 5 (after delete no slot, publication or process remains).
import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import type pg from "pg";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { openStack } from "../engine/deployer";
import { type OperationResult, Stack } from "../engine/engine";
import { yaml } from "../engine/protocol";
import { until } from "../support/conditions";
import { longTest } from "../support/long-test";
import { startPostgres, type TestPostgres } from "../support/postgres-server";
import { endProcesses, errorsOf, processesNaming, publicationNames, slotNames } from "./ingestion-stack";
import { ok } from "./operation-outcome";

const root = resolve(__dirname, "../..");
const examples = join(root, "examples");
let server: TestPostgres;
let client: pg.Client;
let folder: string;

beforeAll(async () => {
  server = await startPostgres({ settings: { max_slot_wal_keep_size: "1GB" } });
  client = await server.client();
  await client.query(`
    CREATE SCHEMA acme; CREATE TABLE acme.orders (id int PRIMARY KEY); INSERT INTO acme.orders VALUES (1), (2);
    CREATE SCHEMA globex; CREATE TABLE globex.orders (id int PRIMARY KEY); INSERT INTO globex.orders VALUES (3)`);
  folder = mkdtempSync(join(tmpdir(), "sluice-examples-"));
});

afterAll(async () => {
  if (folder !== undefined) await endProcesses(folder);
  await client?.end();
  await server?.stop();
  if (folder !== undefined) rmSync(folder, { recursive: true, force: true });
});

const places = () => ({ stateDir: join(folder, "state"), destination: join(folder, "lake") });
const reached = () => ({ host: server.host, port: String(server.port), database: server.database, user: server.user });

const open = (projectDir: string, config: Record<string, string>, env: Record<string, string> = {}) =>
  openStack(stackOptions(projectDir, config, env));

function stackOptions(projectDir: string, config: Record<string, string>, env: Record<string, string> = {}) {
  const { name } = yaml.load(readFileSync(join(projectDir, "Pulumi.yaml"), "utf8")) as { name: string };
  return {
    projectDir,
    stack: "test",
    stateFile: join(folder, `${name}.json`),
    config: Object.fromEntries(Object.entries(config).map(([key, value]) => [`${name}:${key}`, value])),
    env: { PULUMI_NODEJS_TRANSPILE_ONLY: "true", SLUICE_PASSWORD: server.password, ...env },
    plugins: { databricks: join(root, "dist/test/support/databricks-provider.js") },
  };
}

/** What `npm install` would bring. */
function linkPackages(project: string): void {
  mkdirSync(join(project, "node_modules"));
  symlinkSync(root, join(project, "node_modules", "pulumi-sluice"));
  for (const name of ["@pulumi", "@types", "typescript"]) {
    symlinkSync(join(root, "node_modules", name), join(project, "node_modules", name));
  }
}

function changes(result: OperationResult): string[] {
  return ok(result)
    .steps.filter(({ op, type }) => op !== "same" && op !== "refresh" && type.startsWith("pulumi-nodejs:"))
    .map(({ op, type, name }) => `${name} ${type.split(":").at(-1)} ${op}`);
}

const kinds = ["Connection", "Publication", "ReplicationSlot", "Gateway", "IngestionPipeline"];
const created = (name: string) => kinds.map((kind) => `${name} ${kind} create`);

describe("the example", () => {
  it("of RDS is previewed where its database can't be reached", async () => {
    const stack = await open(join(examples, "rds"), {
      host: "shop.example.invalid",
      database: "shop",
      user: "sluice",
      caFile: "/etc/ssl/global-bundle.pem",
      tables: '["public.orders"]',
      ...places(),
    });
    expect(changes(await stack.preview())).toEqual(created("rds"));
  });

  it("of containers is previewed where neither engine nor database can be reached", async () => {
    const config = {
      ...{ engine: "ssh://ops@data1.example.invalid", knownHosts: "data1.example.invalid ssh-ed25519 AAAA" },
      ...{
        sshKey: "-----BEGIN OPENSSH PRIVATE KEY-----",
        host: "db.example.invalid",
        database: "shop",
        user: "sluice",
      },
      ...{ password: "secret", tables: '["public.orders"]', preflight: "up" },
    };
    expect(changes(await (await open(join(examples, "docker"), config)).preview())).toEqual(created("orders"));
  });

  it("of Kubernetes is previewed where its cluster can't be reached", async () => {
    const config = { ...reached(), tables: '["acme.orders"]', namespace: "lakehouse", image: "registry/sluice:1" };
    const stack = await open(join(examples, "kubernetes"), { ...config, secret: "shop", preflight: "up" });
    expect(changes(await stack.preview())).toEqual(created("orders"));
  });

  it("of a SQL warehouse is previewed where its workspace can't be reached", async () => {
    const config = {
      ...{ ...reached(), tables: '["acme.orders"]', preflight: "up", stateDir: join(folder, "state") },
      ...{ workspace: "https://adb-1.azuredatabricks.net", clientId: "11111111-2222-3333-4444-555555555555" },
      ...{ volume: "main.sluice.staging", warehouseId: "1234567890abcdef", catalog: "main", schema: "shop" },
    };
    expect(changes(await (await open(join(examples, "databricks-warehouse"), config)).preview())).toEqual(
      created("orders"),
    );
  });

  longTest("of a SQL warehouse is previewed as apps, where its workspace can't be reached", async () => {
    const config = {
      ...{
        ...reached(),
        host: "db.example.invalid",
        tables: '["acme.orders"]',
        preflight: "up",
        stateDir: "/var/lib/sluice",
      },
      ...{ workspace: "https://adb-1.azuredatabricks.net", clientId: "11111111-2222-3333-4444-555555555555" },
      ...{ volume: "main.sluice.staging", warehouseId: "1234567890abcdef", catalog: "main", schema: "shop" },
      deployment: '{"kind":"databricks"}',
    };
    const env = {
      DATABRICKS_HOST: config.workspace,
      DATABRICKS_CLIENT_ID: config.clientId,
      DATABRICKS_CLIENT_SECRET: "x",
    };
    const stack = await open(join(examples, "databricks-warehouse"), config, env);
    expect(changes(await stack.preview())).toEqual(created("orders"));
  });

  it("of a declarative pipeline is previewed, by a stand-in of the plug-in", async () => {
    const config = {
      ...{ ...reached(), tables: '["acme.orders"]', preflight: "up", stateDir: join(folder, "state") },
      ...{ workspace: "https://adb-1.azuredatabricks.net", clientId: "11111111-2222-3333-4444-555555555555" },
      ...{ volume: "main.sluice.staging", catalog: "main", schema: "shop" },
    };
    const stack = new Stack(stackOptions(join(examples, "databricks-pipeline"), config));
    const { steps, ...result } = await stack.preview();
    expect(errorsOf({ steps, ...result })).toBe("");
    const made = steps.filter(({ op }) => op === "create").map(({ type }) => type.split(":").at(-1));
    expect(made).toEqual(expect.arrayContaining(["Gateway", "WorkspaceFile", "Pipeline", "Job"]));
  });

  it("of Databricks' own pipelines is previewed, by a stand-in of the plug-in", async () => {
    const config = { ...reached(), host: "db.example.invalid", tables: '["acme.orders"]', preflight: "up" };
    const project = { ...config, catalog: "main", schema: "shop", policyId: "0123456789ABCDEF" };
    const stack = new Stack(stackOptions(join(examples, "databricks-managed"), project));
    const { steps, ...result } = await stack.preview();
    expect(errorsOf({ steps, ...result })).toBe("");
    const made = steps.filter(({ op }) => op === "create").map(({ type }) => type.split(":").at(-1));
    expect(made).toEqual(expect.arrayContaining(["Publication", "ReplicationSlot", "Pipeline", "Job"]));
    expect(made.filter((type) => type === "Pipeline")).toHaveLength(2);
  });

  it("of pull requests is previewed where it is copied to, with its types checked", async () => {
    const config = { ...reached(), tables: '["acme.orders"]', ...places() };
    const project = join(folder, "copied");
    cpSync(join(examples, "gitops"), project, { recursive: true });
    linkPackages(project);
    const stack = await open(project, config, { PULUMI_NODEJS_TRANSPILE_ONLY: "false" });
    expect(changes(await stack.preview())).toEqual(created("orders"));
  });

  // The quickstart is the program of the project's own Pulumi.yaml, and resolves the package by itself.
  const copied = readdirSync(examples).filter((name) => name !== "quickstart");
  it.each(copied)("%s has the compiler's settings of the template, so that it can be copied", (name) => {
    const settings = (path: string) => JSON.parse(readFileSync(join(root, path, "tsconfig.json"), "utf8"));
    const { compilerOptions, ...others } = settings("template");
    // Within this repository the compiler must know where the package begins; elsewhere this says nothing.
    const options = { rootDir: "../..", ...compilerOptions };
    expect(settings(join("examples", name))).toEqual({ compilerOptions: options, ...others });
  });

  longTest(
    "of adoption takes over a publication, and leaves it as it was",
    async () => {
      await client.query("CREATE PUBLICATION reporting FOR TABLE acme.orders");
      const published = () =>
        client.query("SELECT p.oid::text, t.* FROM pg_publication p JOIN pg_publication_tables t USING (pubname)");
      const { rows: before } = await published();
      const config = { ...reached(), publication: "reporting", tables: '["acme.orders"]', ...places() };
      const stack = await open(join(examples, "adopt"), config);
      expect(changes(await stack.up())).toEqual(created("adopted"));
      expect((await published()).rows).toEqual(before);
      changes(await stack.destroy());
      expect((await published()).rows).toEqual(before);
      expect(await slotNames(client)).toEqual([]);
      await client.query("DROP PUBLICATION reporting");
    },
    120_000,
  );

  longTest(
    "of several pipelines has one of its own for each tenant, that joins and leaves alone",
    async () => {
      const openFor = (...tenants: string[]) =>
        open(join(examples, "multi-tenant"), {
          ...reached(),
          passwordEnv: server.passwordEnv,
          tenants: JSON.stringify(tenants),
          tables: '["orders"]',
          ...places(),
        });
      const one = await openFor("acme");
      expect(changes(await one.up())).toEqual(created("acme"));
      const [first] = await slotNames(client);

      const two = await openFor("acme", "globex");
      const result = await two.up();
      expect(changes(result)).toEqual(created("globex"));
      const { slots, lakes, status } = result.outputs as Record<string, Record<string, string>>;
      expect(slots.acme).toBe(first);
      expect(await slotNames(client)).toEqual(Object.values(slots).sort());
      expect(await publicationNames(client)).toHaveLength(2);
      expect(readdirSync(join(folder, "state")).sort()).toEqual(Object.values(slots).sort());
      const rowsOf = (tenant: string) => {
        const { tables } = JSON.parse(readFileSync(status[tenant], "utf8")) as { tables: { rows: number }[] };
        return tables.map(({ rows }) => rows).join();
      };
      await until("each has its own rows", () => rowsOf("acme") === "2" && rowsOf("globex") === "1");
      expect(lakes).toEqual({ acme: join(folder, "lake", "acme"), globex: join(folder, "lake", "globex") });

      // The CLI's stack has one configuration, which opening it sets.
      const oneAgain = await openFor("acme");
      expect(changes(await oneAgain.up()).sort()).toEqual(kinds.map((kind) => `globex ${kind} delete`).sort());
      expect(await slotNames(client)).toEqual([first]);
      changes(await oneAgain.destroy());
      expect([await slotNames(client), await publicationNames(client)]).toEqual([[], []]);
      expect(processesNaming(join(folder, "state"))).toEqual([]);
      expect(readdirSync(join(folder, "lake"))).toEqual(expect.arrayContaining(["acme", "globex"]));
    },
    120_000,
  );
});

it("the template is a program, with its types checked", async () => {
  const project = join(folder, "new");
  cpSync(join(root, "template"), project, { recursive: true });
  for (const name of ["Pulumi.yaml", "package.json"]) {
    const text = readFileSync(join(project, name), "utf8");
    expect(text).toMatch(/\$\{PROJECT\}/);
    writeFileSync(
      join(project, name),
      text.replaceAll(/\$\{PROJECT\}/g, "new-project").replaceAll(/\$\{DESCRIPTION\}/g, "A new one"),
    );
  }
  linkPackages(project);
  const file = yaml.load(readFileSync(join(project, "Pulumi.yaml"), "utf8")) as { template: { config: object } };
  const config = { ...reached(), tables: '["acme.orders"]', ...places() };
  expect(Object.keys(file.template.config).sort()).toEqual(Object.keys(config).sort());
  const stack = await open(project, config, { PULUMI_NODEJS_TRANSPILE_ONLY: "false" });
  expect(changes(await stack.preview())).toEqual(created("ingestion"));
  const { version, dependencies, devDependencies } = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));
  for (const path of ["template", "examples/gitops/policy"]) {
    const made = JSON.parse(readFileSync(join(root, path, "package.json"), "utf8"));
    expect(made.dependencies["pulumi-sluice"]).toBe(version);
    expect(made.dependencies["@pulumi/pulumi"]).toBe(dependencies["@pulumi/pulumi"]);
    expect(made.devDependencies.typescript).toBe(devDependencies.typescript);
  }
});

describe("the workflows", () => {
  const gitops = join(examples, "gitops");

  it.each(readdirSync(join(gitops, "workflows")))("%s has steps that run", (name) => {
    const { jobs } = yaml.load(readFileSync(join(gitops, "workflows", name), "utf8")) as {
      jobs: Record<string, { steps: { run?: string; uses?: string }[] }>;
    };
    const steps = Object.values(jobs).flatMap((job) => job.steps);
    expect(steps.every(({ run, uses }) => (run === undefined) !== (uses === undefined))).toBe(true);
    expect(steps.map(({ run }) => run).join("\n")).toMatch(/pulumi (preview|up|refresh) --stack production/);
  });

  it("the operator's Stack configures all that the program requires", () => {
    const program = readFileSync(join(gitops, "index.ts"), "utf8");
    const required = [...program.matchAll(/config\.require\w*(?:<.*?>)?\("(\w+)"\)/g)].map(([, key]) => key);
    const text = readFileSync(join(gitops, "operator/stack.yaml"), "utf8");
    const stack = text
      .split(/^---$/m)
      .map((part) => yaml.load(part) as { kind: string; spec: { config: object; envRefs: object } })
      .find(({ kind }) => kind === "Stack");
    expect(Object.keys(stack?.spec.config ?? {}).sort()).toEqual(required.map((key) => `sluice-gitops:${key}`).sort());
    expect(Object.keys(stack?.spec.envRefs ?? {})).toContain("SLUICE_PASSWORD");
  });
});
