import type { CatalogTable } from "../typed/catalog";

/** What a rule sees of a resource: its checked inputs, as an engine has them. */
export interface RuleSubject {
  /** `Connection`, `Publication` … */
  kind: string;
  inputs: Readonly<Record<string, unknown>>;
  /** the option `protect`, its own or a parent's */
  isProtected: boolean;
}

export interface RuleSettings {
  /** `require`: any TLS; `verify-ca`, `verify-full`: it is checked who answers. Default `require` */
  sslModeMin: "require" | "verify-ca" | "verify-full";
  /** a table of more columns is wide; default 50 */
  columnsMax: number;
}

export const defaultSettings: RuleSettings = { sslModeMin: "require", columnsMax: 50 };

/** Pure: what is wrong with a resource, a sentence and its remedy for each; empty where nothing is. */
export type Rule = (subject: RuleSubject, settings: RuleSettings) => string[];

type Shape = Record<string, unknown>;
const isShape = (value: unknown): value is Shape =>
  typeof value === "object" && value !== null && !Array.isArray(value);
const listOf = (value: unknown): unknown[] => (Array.isArray(value) ? value : []);

/** The source of a resource: a Connection is one, others have it as an input. */
function sourceOf({ kind, inputs }: RuleSubject): Shape | null {
  if (kind === "Connection") return inputs;
  return isShape(inputs.source) ? inputs.source : null;
}

/** A slot that nobody reads must be given up before it fills the source's disk. */
export const cappedSlotRetention: Rule = ({ kind, inputs }) =>
  kind === "Connection" && inputs.uncappedSlotWal !== "error"
    ? [
        'a server that keeps WAL for slots without limit (max_slot_wal_keep_size = -1) is not refused. Set uncappedSlotWal: "error" on the Connection; the preview then fails for such a server, with the statement that caps it.',
      ]
    : [];

/** A policy sees secrets as their values: one that is encrypted in the state is refused like one that isn't. */
export const passwordByReference: Rule = (subject) => {
  const source = sourceOf(subject);
  return ["password", "sslKey"].flatMap((name) =>
    typeof source?.[name] === "string"
      ? [
          `${name} is a value, which is in the state. Give a reference, { env: "NAME" } or { file: "/path" }: it is read where it is used, and its rotation is no change.`,
        ]
      : [],
  );
};

const loopback = /^(localhost|127(\.\d+){3}|::1|\/.*)$/;
const sslModes = ["disable", "require", "verify-ca", "verify-full"];

/** Rows and the password's proof cross the network. */
export const tlsOn: Rule = (subject, { sslModeMin }) => {
  const source = sourceOf(subject);
  // Without it the resource itself chooses verify-full off loopback.
  if (source === null || typeof source.sslMode !== "string") return [];
  const hosts = [source.host, ...listOf(source.failoverHosts).map((each) => (isShape(each) ? each.host : undefined))];
  const remote = hosts.filter((host): host is string => typeof host === "string" && !loopback.test(host));
  if (remote.length === 0 || sslModes.indexOf(source.sslMode) >= sslModes.indexOf(sslModeMin)) return [];
  return [
    `sslMode is ${source.sslMode} for ${remote[0]}: ${source.sslMode === "disable" ? "nothing is encrypted" : "nobody checks who answers"}. Use sslMode: "verify-full", with the authority's certificate in sslRootCertFile.`,
  ];
};

/** Delta tables that a delete takes along are protected from one by mistake. */
export const protectedTables: Rule = ({ kind, inputs, isProtected }) =>
  kind === "IngestionPipeline" && inputs.onDelete === "drop" && !isProtected
    ? [
        'its delete drops the Delta tables (onDelete: "drop") and nothing protects it. Set protect: true in its options (or of the component around it), or leave onDelete out: the tables stay then.',
      ]
    : [];

/** REPLICA IDENTITY FULL writes the whole old row to the WAL at each update and delete. */
export function narrowFullIdentity(tables: readonly CatalogTable[] | null): Rule {
  const known = new Map(tables?.map((table) => [keyOf(table), Object.keys(table.columns).length]));
  return ({ kind, inputs }, { columnsMax }) => {
    if (kind !== "Publication") return [];
    const chosen = listOf(inputs.tables).filter((table) => isShape(table) && table.replicaIdentity === "full");
    const names = new Set([...listOf(inputs.fullIdentity), ...chosen].flatMap((table) => nameOf(table) ?? []));
    return [...names].flatMap((name) => {
      const columns = known.get(name);
      if (tables !== null && (columns === undefined || columns <= columnsMax)) return [];
      const width = columns === undefined ? "whose width isn't known" : `of ${columns} columns`;
      return [
        `table ${name}, ${width}, has REPLICA IDENTITY FULL: each update and delete writes its whole old row to the WAL. Leave fullIdentity, replicaIdentity: "full" and beforeImage out for it, or name a unique index as its identity.`,
      ];
    });
  };
}

const keyOf = ({ schema, name }: { schema: string; name: string }) => `${schema}.${name}`;

function nameOf(table: unknown): string | null {
  if (!isShape(table)) return typeof table === "string" ? table : null;
  return typeof table.schema === "string" && typeof table.name === "string"
    ? keyOf({ schema: table.schema, name: table.name })
    : null;
}
