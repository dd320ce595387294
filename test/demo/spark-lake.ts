import { randomUUID } from "node:crypto";
import { existsSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { DatabricksWorkspace } from "../support/databricks-workspace";
import { startSparkFront } from "../support/spark-front";
import { SparkServer } from "../support/spark-server";
import { openSparkTable } from "../support/spark-table";
import type { DemoLake } from "./demo-lake";

const volume = "main.sluice.staging";
const schema = "lake";
/** Variables of the environment by which the stack's processes get their secrets. */
const variables = { staging: "SLUICE_DEMO_WORKSPACE_TOKEN", warehouse: "SLUICE_DEMO_WAREHOUSE_TOKEN" } as const;

/** Tables that Spark merges and reads, staged through the stand-in of a workspace's Files API; all of it on this machine. */
export async function openSparkLake(folder: string, python: string, jars: string): Promise<DemoLake> {
  const own = join(folder, "spark");
  const server = await SparkServer.start(python, jars, { tables: join(own, "tables"), work: own });
  const token = randomUUID();
  const front = await startSparkFront(server.port, token);
  const workspace = await DatabricksWorkspace.open();
  const close = async () => {
    await front.close();
    await workspace.close();
    await server.close();
  };
  try {
    process.env[variables.staging] = await workspace.addVolume(volume);
    process.env[variables.warehouse] = token;
    // The client of warehouses speaks TLS alone, and the front's authority is nobody's.
    const authority = join(own, "authority.pem");
    writeFileSync(authority, front.caCert);
    process.env.NODE_EXTRA_CA_CERTS = authority;
    const path = "demo";
    const staged = workspace.files.local(`/Volumes/${volume.replaceAll(".", "/")}`);
    const address = { port: front.port, caCert: front.caCert, token };
    return {
      inputs: {
        staging: {
          ...{ kind: "volume", volume, path },
          workspace: { host: workspace.host, token: { env: variables.staging } },
        },
        destination: {
          ...{ kind: "databricks", mode: "warehouse", engine: "spark", catalog: "spark_catalog", schema },
          ...{ host: `https://localhost:${front.port}`, httpPath: "/sql/1.0/warehouses/spark" },
          ...{ token: { env: variables.warehouse }, stagedPath: join(staged, path) },
        },
      },
      taken: () => null,
      async open(name) {
        const table = await openSparkTable(address, { schema, name });
        return { ...table, told: `by Spark, version ${table.version}` };
      },
      leftovers: () => (existsSync(staged) ? readdirSync(staged).map((name) => `${name} in the volume`) : []),
      counts: () => ({
        uploadedBytes: workspace.files.uploadedBytes,
        mergeStatements: front.statements.filter((text) => /^MERGE INTO (?!.*_sluice_writers` w)/.test(text)).length,
      }),
      close,
    };
  } catch (error) {
    await close();
    throw error;
  }
}
