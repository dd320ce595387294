import type pg from "pg";
import { afterAll, afterEach, beforeAll, beforeEach, expect, vi } from "vitest";
import type { DeploymentOf } from "../../provider/deploy/target";
import { gatewayLifecycle } from "../../provider/lifecycle/gateway";
import type { Properties } from "../../provider/lifecycle/lifecycle";
import { until } from "./conditions";
import { DatabricksWorkspace } from "./databricks-workspace";
import { startPostgres, type TestPostgres } from "./postgres-server";

const volume = "main.sluice.staging";
export const stateDir = "/var/lib/sluice";

/** A gateway that is deployed into a workspace, before and behind each test of a file; the workspace and the slot are new each time. */
export class WorkspaceGateway {
  server!: TestPostgres;
  workspace!: DatabricksWorkspace;
  identity!: { clientId: string; clientSecret: string };
  /** what is deleted behind the test, if it isn't by then */
  made: Properties | null = null;
  private client!: pg.Client;

  /** @param deployment of the target, beside its workspace @param ready what a new workspace has */
  constructor(
    private readonly deploymentOf: DeploymentOf,
    private readonly deployment: () => object = () => ({}),
    ready: (workspace: DatabricksWorkspace) => void = () => {},
  ) {
    beforeAll(async () => {
      this.server = await startPostgres();
      this.client = await this.server.client();
      await this.client.query(
        "CREATE TABLE orders (id int PRIMARY KEY); INSERT INTO orders SELECT generate_series(1, 10)",
      );
      await this.client.query("CREATE PUBLICATION pub FOR TABLE orders");
    });
    afterAll(async () => {
      await this.client?.end();
      await this.server?.stop();
    });
    beforeEach(async () => {
      this.workspace = await DatabricksWorkspace.open();
      ready(this.workspace);
      this.identity = this.workspace.addServicePrincipal();
      await this.workspace.addVolume(volume, this.identity.clientId);
      vi.stubEnv("SLUICE_TEST_WORKSPACE", this.identity.clientSecret);
      vi.stubEnv("SLUICE_TEST_SOURCE", this.server.password);
      await this.client.query("SELECT pg_create_logical_replication_slot('slot_a', 'pgoutput')");
    });
    afterEach(async () => {
      if (this.made !== null) await this.lifecycle().delete("", this.made);
      this.made = null;
      await this.workspace.close();
      vi.unstubAllEnvs();
      await until("the slot is free", async () => {
        await this.client.query("SELECT pg_drop_replication_slot('slot_a')").catch(() => {});
        return (await this.client.query("SELECT FROM pg_replication_slots WHERE slot_name = 'slot_a'")).rowCount === 0;
      });
    });
  }

  readonly lifecycle = () => gatewayLifecycle(this.deploymentOf);

  /** of the workspace, with its principal */
  readonly settings = () => ({
    host: this.workspace.host,
    clientId: this.identity.clientId,
    clientSecret: { env: "SLUICE_TEST_WORKSPACE" },
  });

  readonly target = (more: object = {}) => ({
    ...{ kind: "databricks" as const, workspace: this.settings() },
    ...this.deployment(),
    ...more,
  });

  readonly news = (more: Properties = {}): Properties => ({
    source: {
      ...{ host: "::ffff:127.0.0.1", port: this.server.port, database: this.server.database, user: this.server.user },
      ...{ sslMode: "disable", password: { env: "SLUICE_TEST_SOURCE" } },
    },
    ...{ publicationName: "pub", slotName: "slot_a", slotIncarnation: "1", stateDir },
    staging: { kind: "volume", volume, workspace: this.settings() },
    deployment: this.target(),
    ...more,
  });

  readonly checked = async (
    more: Properties = {},
    olds: Properties = {},
    lifecycle = this.lifecycle(),
  ): Promise<Properties> => {
    const { inputs, failures } = await lifecycle.check(olds, this.news(more));
    expect(failures).toEqual([]);
    return inputs;
  };

  readonly created = async (more: Properties = {}): Promise<Properties> => {
    const { outs } = await this.lifecycle().create(await this.checked(more));
    this.made = outs;
    return outs;
  };
}
