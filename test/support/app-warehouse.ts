import type { Destination } from "./equality";
import { RecordedService } from "./recorded-service";
import { RecordedWarehouse } from "./recorded-warehouse";
import { startSparkFront } from "./spark-front";
import { SparkServer } from "./spark-server";
import { openSparkTable } from "./spark-table";
import { WarehouseFront } from "./warehouse-front";

const token = "a token of the warehouse";

/**
 * A warehouse that processes elsewhere log in to: a recorded engine, or with `SLUICE_TEST_SPARK=PYTHON:FOLDER` Spark with Delta,
 * of a virtual environment and the folder of its jars.
 */
export class AppWarehouse {
  /** the statement of `onMerge` was there */
  hasMerged = false;

  private constructor(
    private readonly front: WarehouseFront,
    private readonly engine: RecordedWarehouse | null,
    private readonly spark: SparkServer | null,
  ) {}

  static async open(principal: { clientId: string; clientSecret: string }, folder: string): Promise<AppWarehouse> {
    const [python, jars] = process.env.SLUICE_TEST_SPARK?.split(":") ?? [];
    const engine = jars === undefined ? new RecordedWarehouse({ id: "bigint", name: "string" }) : null;
    const spark =
      engine === null ? await SparkServer.start(python, jars, { tables: `${folder}/tables`, work: folder }) : null;
    const front =
      engine === null
        ? await startSparkFront((spark as SparkServer).port, token)
        : await WarehouseFront.start(new RecordedService(engine).serve, token);
    front.principals.set(principal.clientId, principal.clientSecret);
    return new AppWarehouse(front, engine, spark);
  }

  get caCert(): string {
    return this.front.caCert;
  }

  get hasRows(): boolean {
    return this.engine === null;
  }

  get catalog(): string {
    return this.engine === null ? "spark_catalog" : "main";
  }

  /** Settings of a destination. */
  get address(): object {
    const host = `https://localhost:${this.front.port}`;
    return { host, httpPath: "/sql/1.0/warehouses/1", ...(this.engine === null ? { engine: "spark" } : {}) };
  }

  /** Where the engine finds a folder of the volume; undefined where it is as any warehouse. */
  stagedPath(local: string): string | undefined {
    return this.engine === null ? local : undefined;
  }

  /** Once, when the next MERGE into a table arrives. */
  onMerge(table: string, act: () => Promise<void>): void {
    this.front.fault = ({ statement }) => {
      if (statement?.startsWith("MERGE INTO") && statement.includes(`\`${table}\``)) {
        this.front.fault = () => "none";
        void act().finally(() => {
          this.hasMerged = true;
        });
      }
      return "none";
    };
  }

  /**
   * Staged commits that MERGEs into a table have had, in the order of their effects: first and last of each. None of Spark, whose
   * rows say more.
   */
  effects(table: string): [number, number][] {
    return this.engine?.effects(`\`${table}\``) ?? [];
  }

  /** Null of an engine without rows. */
  async table(schema: string, name: string): Promise<Destination | null> {
    if (this.engine !== null) return null;
    return openSparkTable({ port: this.front.port, caCert: this.front.caCert, token }, { schema, name });
  }

  async close(): Promise<void> {
    await this.front.close();
    await this.spark?.close();
  }
}
