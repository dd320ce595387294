import { quoteTable } from "../../runtime/postgres/identifier";
import { defaultTableOptions, type NamedTableOptions, optionsOf, type TableOptions } from "../../runtime/table-options";
import type { CheckFailure } from "../lifecycle/lifecycle";
import { namedOptions } from "../lifecycle/table-options";
import type { PublishedTable } from "../postgres/publication-definition";
import type { ManagedDestination } from "./managed-inputs";
import { isUnityName } from "./unity-names";

/** Checked inputs that say which tables become which. */
export interface ManagedTables {
  tables?: PublishedTable[];
  schemas?: string[];
  /** as programs give them, with the table named as in a publication */
  tableOptions?: unknown;
  destination: Pick<ManagedDestination, "catalog" | "schema" | "tableMode">;
}

/** What an object says of its tables; `TableConfiguration` of the package's types. */
export interface TableConfiguration {
  scdType: "SCD_TYPE_1" | "SCD_TYPE_2";
  includeColumns?: string[];
  excludeColumns?: string[];
  primaryKeys?: string[];
  clusteringColumns?: string[];
}

/** An object of an ingestion definition, with every name said: what is left out is filled in by the server, and drifts. */
export type ManagedObject =
  | {
      schema: {
        sourceCatalog: string;
        sourceSchema: string;
        destinationCatalog: string;
        destinationSchema: string;
        tableConfiguration: TableConfiguration;
      };
    }
  | {
      table: {
        sourceCatalog: string;
        sourceSchema: string;
        sourceTable: string;
        destinationCatalog: string;
        destinationSchema: string;
        destinationTable: string;
        tableConfiguration: TableConfiguration;
      };
    };

/** Tables of one pipeline (docs.databricks.com, PostgreSQL ingestion connector, feature availability). */
export const objectsMax = 250;

const scdTypes = { scd1: "SCD_TYPE_1", scd2: "SCD_TYPE_2" } as const;

/** Pure: the objects in an order of their own, so that the program's order makes no change. */
export function managedObjects(inputs: ManagedTables, database: string): ManagedObject[] {
  const { catalog, schema, tableMode } = inputs.destination;
  const options = namedOptions(inputs.tableOptions);
  const schemas = [...(inputs.schemas ?? [])].sort().map((name) => ({
    schema: {
      sourceCatalog: database,
      sourceSchema: name,
      destinationCatalog: catalog,
      destinationSchema: schema ?? name.toLowerCase(),
      tableConfiguration: { scdType: scdTypes[tableMode] },
    },
  }));
  const tables = [...(inputs.tables ?? [])]
    .sort((a, b) => (quoteTable(a) < quoteTable(b) ? -1 : 1))
    .map((table) => {
      const named = isNamed(options, table) ? optionsOf(options, table) : undefined;
      const place = placeOf(inputs, table, named);
      return {
        table: {
          sourceCatalog: database,
          sourceSchema: table.schema,
          sourceTable: table.name,
          destinationCatalog: catalog,
          destinationSchema: place.schema,
          destinationTable: place.name,
          tableConfiguration: configurationOf(named, tableMode),
        },
      };
    });
  return [...schemas, ...tables];
}

/** Pure: what the vendor's pipelines can't do with these tables, which would show only when they run. */
export function managedObstacles(inputs: ManagedTables): CheckFailure[] {
  const failures: CheckFailure[] = [];
  const refuse = (property: string, reason: string, remedy: string) =>
    failures.push({ property, reason: `${reason}\n  remedy: ${remedy}` });
  const tables = inputs.tables ?? [];
  const schemas = inputs.schemas ?? [];
  const options = namedOptions(inputs.tableOptions);
  if (tables.length === 0 && schemas.length === 0) {
    refuse("tables", "at least one table is needed", "Name tables or schemas.");
  }
  if (tables.length > objectsMax) {
    refuse(
      "tables",
      `there are ${tables.length} tables, and one pipeline takes ${objectsMax}`,
      "Make several ingestions.",
    );
  }
  for (const [index, table] of tables.entries()) {
    const label = quoteTable(table);
    if (table.columns !== undefined || table.where !== undefined) {
      refuse(
        `tables[${index}]`,
        `${label}: the vendor's snapshot goes by no column list or row filter of a publication, so its rows wouldn't agree with the changes behind it`,
        "Leave them out; columns by include or exclude in tableOptions.",
      );
    }
    if (schemas.includes(table.schema)) {
      refuse(
        `tables[${index}]`,
        `${label} is of the schema ${table.schema}, which is carried as a whole`,
        "Name the schema's tables one by one, or leave this one out.",
      );
    }
  }
  for (const [index, option] of options.entries()) {
    if (!tables.some(({ schema, name }) => schema === option.schema && name === option.name)) {
      refuse(
        `tableOptions[${index}].table`,
        `${quoteTable(option)} isn't one of tables`,
        "Name it there; a schema that is carried as a whole has tableMode alone.",
      );
    }
    for (const name of unsupported(option)) {
      refuse(
        `tableOptions[${index}].${name}`,
        `the vendor's pipelines have no ${name} as it is given here`,
        'Leave it out, or use mode: "warehouse" or "pipeline", which have it.',
      );
    }
  }
  const places = new Map<string, string>();
  for (const [index, table] of tables.entries()) {
    const place = placeOf(inputs, table, isNamed(options, table) ? optionsOf(options, table) : undefined);
    const key = `${place.schema}.${place.name}`;
    const other = places.get(key);
    if (!isUnityName(place.schema) || !isUnityName(place.name)) {
      refuse(
        `tables[${index}]`,
        `${quoteTable(table)} has a name that Unity Catalog can't hold`,
        "Give it another one by tableOptions: destination.",
      );
    } else if (other !== undefined) {
      refuse(
        `tables[${index}]`,
        `${quoteTable(table)} and ${other} would both be ${key}`,
        "Give one of them another name by tableOptions: destination.",
      );
    }
    places.set(key, quoteTable(table));
  }
  return failures;
}

const isNamed = (options: readonly NamedTableOptions[], { schema, name }: PublishedTable) =>
  options.some((each) => each.schema === schema && each.name === name);

function placeOf({ destination }: ManagedTables, table: PublishedTable, options: TableOptions | undefined) {
  return {
    schema: (options?.destination?.schema ?? destination.schema ?? table.schema).toLowerCase(),
    name: (options?.destination?.name ?? table.name).toLowerCase(),
  };
}

function configurationOf(options: TableOptions | undefined, tableMode: "scd1" | "scd2"): TableConfiguration {
  const mode = options?.mode ?? tableMode;
  return {
    scdType: mode === "scd2" ? scdTypes.scd2 : scdTypes.scd1,
    ...(options?.include === undefined ? {} : { includeColumns: [...options.include].sort() }),
    ...(options?.exclude === undefined ? {} : { excludeColumns: [...options.exclude].sort() }),
    ...(options?.key === undefined ? {} : { primaryKeys: options.key }),
    ...(options?.clusterBy === undefined ? {} : { clusteringColumns: options.clusterBy }),
  };
}

const supported = new Set<keyof TableOptions>(["destination", "include", "exclude", "key", "clusterBy"]);

/** Options that are given another value than their default, and that only our own writers have. */
function unsupported(options: NamedTableOptions): string[] {
  const { schema: _schema, name: _name, mode, ...rest } = options;
  const names = Object.entries(rest)
    .filter(([name, value]) => {
      const key = name as keyof TableOptions;
      return !supported.has(key) && value !== undefined && value !== defaultTableOptions[key];
    })
    .map(([name]) => name);
  return mode === "scd1" || mode === "scd2" ? names : ["mode", ...names];
}
