import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type pg from "pg";
import { expect } from "vitest";
import type { ApplierStatus, GatewayStatus } from "../../runtime/status";
import type { Deployer } from "../engine/deployer";
import { AppWarehouse } from "../support/app-warehouse";
import { until } from "../support/conditions";
import { DatabricksWorkspace } from "../support/databricks-workspace";
import { compareTable } from "../support/equality";
import { startPostgres, type TestPostgres } from "../support/postgres-server";
import { readRecords, replayStaging } from "../support/staging-replay";
import { filesHolding, openIngestion, publicationNames, slotNames } from "./ingestion-stack";
import { changedResources, ok } from "./operation-outcome";

const volume = "main.sluice.staging";
/** For one step; with Spark on a machine that does much else it takes long. */
const waitMs = 300_000;
export const inVolume = `/Volumes/${volume.replaceAll(".", "/")}`;

/** Where a workspace's processes run. */
export interface Platform {
  /** further settings of the deployment */
  deployment: object;
  /** what the process of a role says of itself, at once; null while there is none */
  statusText(role: string): Promise<string | null>;
  /** all that they have printed */
  logs(): string[];
}

/**
 * A stack whose gateway and applier are processes of a workspace, with one table that is written to. Its warehouse is a recorded engine
 * without rows, so that the destination is told of what is staged, and of the ranges of staged commits that statements have had; with
 * SLUICE_TEST_SPARK=PYTHON:FOLDER it is Spark with Delta, and rows are compared.
 */
export class WorkspaceStack {
  private readonly said: string[] = [];
  private writes: { stop(): Promise<number> } | null = null;

  private constructor(
    private readonly name: string,
    readonly server: TestPostgres,
    readonly client: pg.Client,
    private readonly folder: string,
    readonly workspace: DatabricksWorkspace,
    readonly warehouse: AppWarehouse,
    private readonly principal: { clientId: string; clientSecret: string },
    private readonly platform: Platform,
  ) {}

  /** @param platformOf the same at each call */
  static async start(name: string, platformOf: (workspace: DatabricksWorkspace) => Platform): Promise<WorkspaceStack> {
    const server = await startPostgres({ settings: { max_slot_wal_keep_size: "1GB" } });
    const client = await server.client();
    await client.query(`
      CREATE TABLE public.item (id bigint PRIMARY KEY, name text);
      INSERT INTO public.item SELECT g, 'new' FROM generate_series(1, 2000) g`);
    const folder = mkdtempSync(join(tmpdir(), `sluice-${name}-stack-`));
    const workspace = await DatabricksWorkspace.open();
    const principal = workspace.addServicePrincipal();
    await workspace.addVolume(volume, principal.clientId);
    const warehouse = await AppWarehouse.open(principal, folder);
    const authority = join(folder, "authority.pem");
    writeFileSync(authority, warehouse.caCert);
    workspace.apps.trusted = authority;
    workspace.jobs.trusted = authority;
    return new WorkspaceStack(name, server, client, folder, workspace, warehouse, principal, platformOf(workspace));
  }

  async close(): Promise<void> {
    await this.writes?.stop();
    await this.workspace.close();
    await this.warehouse.close();
    await this.client.end();
    await this.server.stop();
    rmSync(this.folder, { recursive: true, force: true });
  }

  private open(more: { gateway?: object; trigger?: object } = {}): Promise<Deployer> {
    const { server, workspace, warehouse } = this;
    const { clientId, clientSecret } = this.principal;
    const secret = { env: "SLUICE_TEST_CLIENT_SECRET" };
    const login = { host: workspace.host, clientId, clientSecret: secret };
    const args = {
      // As the platform's compute would reach it: a source at its own loopback is refused.
      source: { ...server.source(), host: "::ffff:127.0.0.1", sslMode: "disable" },
      tables: ["public.item"],
      stateDir: "/var/lib/sluice",
      gateway: { staging: { kind: "volume", volume, path: "shop", workspace: login }, ...more.gateway },
      destination: {
        ...{ kind: "databricks", mode: "warehouse", catalog: warehouse.catalog, schema: "lake", ...warehouse.address },
        ...{ clientId, clientSecret: secret, stagedPath: warehouse.stagedPath(this.staging) },
      },
      applier: { trigger: { kind: "continuous", intervalMs: 100, ...more.trigger } },
      deployment: { kind: "databricks", workspace: login, ...this.platform.deployment },
    };
    const env = { SLUICE_TEST_CLIENT_SECRET: clientSecret };
    const onLine = (line: string) => void this.said.push(line);
    return openIngestion(this.folder, this.name, args, {}, { env, onLine });
  }

  get staging(): string {
    return this.workspace.files.local(`${inVolume}/shop`);
  }

  /** Makes it, and waits until it holds; the next preview changes nothing. */
  async makes(): Promise<void> {
    ok(await (await this.open()).up());
    await this.caughtUp();
    await this.holds();
    this.keepsSecrets();
    expect(changedResources(ok(await (await this.open()).preview()))).toEqual([]);
  }

  /**
   * Is written to from now on, and loses each half's machine, whose disk goes with it: what the gateway hadn't staged, and what the
   * applier was at.
   */
  async losesMachines(lose: (role: string) => Promise<void>): Promise<void> {
    this.startWriting();
    await this.goesOn();
    await lose("gateway");
    await this.goesOn();
    await this.losesAmidStatement(() => lose("applier"));
    await this.goesOn();
  }

  /** Changes what it is made of: `changed` says which resources. */
  async changes(more: { gateway?: object; trigger?: object }, changed: string[]): Promise<void> {
    expect(changedResources(ok(await (await this.open(more)).up()))).toEqual(changed);
    await this.goesOn();
  }

  /** Nothing has been changed by hand; and all that was written is there, once. */
  async cameThrough(more: { gateway?: object; trigger?: object }): Promise<void> {
    expect(changedResources(ok(await (await this.open(more)).refresh()))).toEqual([]);
    expect(await this.stopWriting()).toBeGreaterThan(100);
    await this.caughtUp();
    await this.holds();
    expect(this.snapshots).toBe(1);
    if (!this.warehouse.hasRows) expect(this.warehouse.effects("item").length).toBeGreaterThan(10);
  }

  /** Is destroyed: of what all platforms have nothing is left. */
  async isDestroyed(): Promise<void> {
    ok(await (await this.open()).destroy());
    const { apps } = this.workspace;
    expect(apps.files.size).toBe(0);
    expect(apps.scopes.size).toBe(0);
    expect(existsSync(this.staging)).toBe(false);
    expect(await slotNames(this.client)).toEqual([]);
    expect(await publicationNames(this.client)).toEqual([]);
  }

  /** No secret is in a source of a process, its log, the state or what was said. */
  private keepsSecrets(): void {
    for (const secret of [this.server.password, this.principal.clientSecret]) {
      expect(filesHolding(this.folder, secret)).toEqual([]);
      const sources = [...this.workspace.apps.files].filter(([path]) => !path.endsWith(".tgz"));
      const texts = [...sources.map(([, content]) => content.toString("utf8")), ...this.platform.logs(), ...this.said];
      expect(texts.filter((text) => text.includes(secret))).toEqual([]);
    }
  }

  /** Begins to write without an end, in small transactions. */
  private startWriting(): void {
    let [isOver, count] = [false, 0];
    const work = (async () => {
      const own = await this.server.client();
      for (; !isOver; count++) {
        const id = 10_000 + count;
        await own.query(`
          INSERT INTO public.item VALUES (${id}, 'w${count}');
          UPDATE public.item SET name = 'u${count}' WHERE id IN (${1 + (count % 2_000)}, ${id - 3});
          DELETE FROM public.item WHERE id = ${id - 7}`);
        await new Promise((done) => setTimeout(done, 5));
      }
      await own.end();
    })();
    this.writes = {
      stop: async () => {
        isOver = true;
        await work;
        return count;
      },
    };
  }

  /** @returns how many transactions there were */
  private async stopWriting(): Promise<number> {
    return (await this.writes?.stop()) ?? 0;
  }

  /** All that is committed now is staged, and all that is staged is applied. */
  private async caughtUp(): Promise<void> {
    const { rows } = await this.client.query<{ lsn: string }>("SELECT pg_current_wal_flush_lsn()::text AS lsn");
    let staged = 0;
    await until(
      "all is staged",
      async () => {
        const status = await this.statusOf<GatewayStatus>("gateway");
        if (status === null) return false;
        staged = status.stagedSequence;
        const sql = "SELECT $1::pg_lsn >= $2::pg_lsn AS is_there";
        return (await this.client.query(sql, [status.acknowledgedLsn, rows[0].lsn])).rows[0].is_there;
      },
      waitMs,
    );
    await until("all is applied", async () => (await this.applied()) >= staged, waitMs);
  }

  /** Waits until the applier has applied more than it has now. */
  private async goesOn(): Promise<void> {
    const before = await this.applied();
    await until("it goes on", async () => (await this.applied()) > before + 1, waitMs);
  }

  /** Loses something while a statement of the applier runs. */
  private async losesAmidStatement(lose: () => Promise<void>): Promise<void> {
    this.warehouse.onMerge("item", lose);
    await until("a machine was lost amid a statement", async () => this.warehouse.hasMerged, waitMs);
  }

  private get snapshots(): number {
    const events = readRecords(this.staging).flatMap((record) => record.events);
    return events.filter(({ kind }) => kind === "snapshot-begin").length;
  }

  /** The destination has the source's rows, and each staged commit once. */
  private async holds(): Promise<void> {
    const replayed = (await replayStaging(this.staging)).get("public.item");
    const rows = replayed?.rows.map(({ id, name }) => `${id} ${name}`).sort();
    const source = await this.client.query<{ row: string }>("SELECT id || ' ' || name AS row FROM public.item");
    expect(rows).toEqual(source.rows.map(({ row }) => row).sort());
    const table = await this.warehouse.table("lake", "item");
    if (table !== null) {
      const item = { schema: "public", name: "item" };
      const { differences, rows: compared } = await compareTable(this.client, item, table);
      expect(differences).toEqual([]);
      expect(compared).toBe(source.rows.length);
      return;
    }
    const effects = this.warehouse.effects("item");
    effects.slice(1).forEach(([first], at) => {
      expect(first).toBe(effects[at][1] + 1);
    });
    const changes = readRecords(this.staging).filter(({ events }) => events.some(({ kind }) => kind === "changes"));
    const last = changes.at(-1)?.sequence ?? 0;
    if (last > 0) expect(effects.at(-1)?.[1]).toBeGreaterThanOrEqual(last);
  }

  private async applied(): Promise<number> {
    return (await this.statusOf<ApplierStatus>("applier"))?.appliedSequence ?? 0;
  }

  private async statusOf<T>(role: string): Promise<T | null> {
    const text = await this.platform.statusText(role);
    return text === null ? null : (JSON.parse(text) as T);
  }
}
