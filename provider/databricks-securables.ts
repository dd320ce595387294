import * as pulumi from "@pulumi/pulumi";
import type { Needed } from "../runtime/databricks/privileges";
import { SluiceError } from "../runtime/errors";
import { resolveSecret } from "../runtime/secret-reference";
import { gatewayPolicy } from "./databricks/cluster-policy";
import { databricksPackage } from "./databricks/package";
import { neededBy, neededByReaders, type Securables } from "./databricks/securable-grants";
import { orEndProgram } from "./program-error";
import type { SecretReference } from "./source";

/** What of Databricks is made beside the ingestion; all else is there, and is only named. */
export interface SecurablesArgs {
  /**
   * Made: `catalog`, `schema`, `volume` (that of `gateway.staging`), and the `clusterPolicy` of the vendor's gateway. Catalog and
   * schema stay at delete, as the tables do. Default none: they are there.
   */
  create?: ("catalog" | "schema" | "volume" | "clusterPolicy")[];
  /** Of the catalog that is made: its files' place (`s3://…`), where the metastore has none of its own. It stays as it is. */
  storageRoot?: string;
  /**
   * Who runs the pipelines, or writes the tables: a user, a group, or a service principal's application id. On each of these
   * objects it holds what the mode needs, and no more: what it was granted there otherwise is revoked. Grants of others aren't
   * touched. Default: nothing is granted.
   */
  principal?: string;
  /** Who may read the tables, other than `principal`: USE CATALOG, USE SCHEMA and SELECT. As with `principal`, no more. */
  readers?: string[];
  /**
   * The source's password in a secret scope, as `key` (default `source-password`), which `principal` may read. The scope is
   * made, unless `existing` is true.
   */
  secrets?: { scope: pulumi.Input<string>; key?: pulumi.Input<string>; existing?: boolean };
}

/** Names are in plain, as which grants there are depends on which of them are the same. */
export interface DatabricksSecurablesArgs extends SecurablesArgs {
  /** Who writes the tables, as a destination's `mode`. */
  mode: Securables["mode"];
  /** Of the tables. */
  catalog: string;
  /** Of the tables; undefined where each has the name of its schema at the source. */
  schema?: string;
  /** Further ones that tables are in. */
  schemas?: string[];
  /** `catalog.schema.volume` of our staging. */
  volume?: string;
  /** Of the vendor's gateway. */
  staging?: { catalog: string; schema: string };
  /** Of the source, for `secrets`. */
  password?: pulumi.Input<SecretReference | string | undefined>;
}

/** Catalog, schema, volume, cluster policy, grants and secrets of a Databricks workspace, each made or only named. */
export class DatabricksSecurables extends pulumi.ComponentResource {
  /** Of the cluster policy; undefined unless it is made. */
  readonly policyId: pulumi.Output<string> | undefined;
  /** `catalog.schema.volume`, once the volume is there. */
  readonly volume: pulumi.Output<string> | undefined;
  /** What others wait for. */
  readonly made: pulumi.Resource[] = [];

  constructor(name: string, args: DatabricksSecurablesArgs, options?: pulumi.ComponentResourceOptions) {
    super("sluice:index:DatabricksSecurables", name, {}, options);
    const databricks = orEndProgram(this, () => {
      refuseUnfit(args);
      return databricksPackage();
    });
    const child = { parent: this };
    const created = new Set(args.create);
    const keep = <T extends pulumi.Resource>(resource: T) => {
      this.made.push(resource);
      return resource;
    };
    // Each is made in what is made before it.
    const inside = () => ({ ...child, dependsOn: [...this.made] });
    const { catalog, schema, volume } = lowered(args);
    const staying = { retainOnDelete: true };
    // The provider would rename a catalog or volume with all that is in it, which isn't what another name asks for.
    const renamed = { replaceOnChanges: ["name"] };
    if (created.has("catalog")) {
      const { storageRoot } = args;
      const inputs = storageRoot === undefined ? {} : { storageRoot };
      keep(new databricks.Catalog(name, { name: catalog, ...inputs }, { ...child, ...staying, ...renamed }));
    }
    if (created.has("schema")) {
      keep(new databricks.Schema(name, { catalogName: catalog, name: schema }, { ...inside(), ...staying }));
    }
    if (volume !== undefined) {
      const [catalogName, schemaName, last] = volume.split(".");
      // Its id is its name, which a preview doesn't know of one that isn't there yet.
      this.volume = created.has("volume")
        ? keep(
            new databricks.Volume(
              name,
              { catalogName, schemaName, name: last, volumeType: "MANAGED" },
              { ...inside(), ...renamed },
            ),
          ).id
        : pulumi.output(volume);
    }
    if (created.has("clusterPolicy")) {
      const label = [pulumi.getProject(), pulumi.getStack(), name, "gateway"].join("-");
      this.policyId = keep(new databricks.ClusterPolicy(name, { name: label, ...gatewayPolicy }, child)).policyId;
    }
    const grants = [
      ...(args.principal === undefined ? [] : grantsOf(args.principal, neededBy(lowered(args)))),
      ...(args.readers ?? []).flatMap((reader) => grantsOf(reader, neededByReaders(lowered(args)))),
    ];
    const behind = inside();
    for (const { principal, type, name: on, privileges } of grants) {
      keep(new databricks.Grant(`${name}/${principal}/${on}`, { [type]: on, principal, privileges }, behind));
    }
    if (args.secrets !== undefined) this.#secrets(name, args, child);
    this.registerOutputs({ policyId: this.policyId, volume: this.volume });
  }

  #secrets(name: string, args: DatabricksSecurablesArgs, child: pulumi.CustomResourceOptions): void {
    const { SecretScope, Secret, SecretAcl } = databricksPackage();
    const { scope: given, key, existing } = args.secrets as NonNullable<SecurablesArgs["secrets"]>;
    const scope = existing === true ? given : new SecretScope(name, { name: given }, child).name;
    const password = pulumi.output(args.password).apply((reference) =>
      orEndProgram(this, () => {
        if (reference !== undefined) return resolveSecret(reference, "source.password");
        throw new SluiceError("config", "there is no password for the secret scope", {
          remedy: "Give source.password, or leave securables.secrets out.",
        });
      }),
    );
    new Secret(
      name,
      { scope, key: key ?? "source-password", stringValue: pulumi.secret(password) },
      { ...child, additionalSecretOutputs: ["stringValue"] },
    );
    if (args.principal === undefined) return;
    new SecretAcl(name, { scope, principal: args.principal, permission: "READ" }, child);
  }
}

const grantsOf = (principal: string, needed: readonly Needed[]) => needed.map((each) => ({ principal, ...each }));

/** Pure: names as Unity Catalog keeps them, by which same ones are known. */
function lowered({ mode, catalog, schema, schemas, volume, staging }: DatabricksSecurablesArgs): Securables {
  return {
    mode,
    catalog: catalog.toLowerCase(),
    schema: schema?.toLowerCase(),
    schemas: schemas?.map((each) => each.toLowerCase()),
    volume: volume?.toLowerCase(),
    staging: staging && { catalog: staging.catalog.toLowerCase(), schema: staging.schema.toLowerCase() },
  };
}

/** @throws SluiceError `config` for what can't be made here */
function refuseUnfit(args: DatabricksSecurablesArgs): void {
  const { create = [], schema, volume, mode, principal, readers, storageRoot } = args;
  if (storageRoot !== undefined && !create.includes("catalog")) {
    throw new SluiceError("config", "securables.storageRoot is of a catalog that is made", {
      remedy: 'Make it: securables.create: ["catalog"]; or leave storageRoot out.',
    });
  }
  if (principal !== undefined && readers?.includes(principal)) {
    throw new SluiceError(
      "config",
      `securables.readers: ${principal} is the principal too, and holds one set of grants`,
      {
        remedy: "Leave it out of readers.",
      },
    );
  }
  const refuse = (what: string, why: string, remedy: string) => {
    if (!create.some((each) => each === what)) return;
    throw new SluiceError("config", `securables.create: there is no ${what} to make: ${why}`, { remedy });
  };
  if (schema === undefined) refuse("schema", "the destination has none", "Give destination.schema.");
  if (volume === undefined) refuse("volume", "staging is in none", 'Give gateway.staging: { kind: "volume", volume }.');
  if (mode !== "managed") refuse("clusterPolicy", "only the vendor's gateway has a cluster", 'Use mode: "managed".');
}
