import type { Client } from "pg";
import { z } from "zod";
import type { SourceConfig } from "../../runtime/config";
import { SluiceError } from "../../runtime/errors";
import { sourceProblems } from "../../runtime/source-config";
import { withAdmin, withCheck } from "../postgres/admin-session";
import { flavours } from "../postgres/flavour";
import { findLongTransactions, readOpenTransactions } from "../postgres/open-transactions";
import { type Finding, findProblems, readSystemIdentifier } from "../postgres/preflight";
import { readSourceFacts } from "../postgres/source-facts";
import { tellCost } from "./change-cost";
import { changesOf, compare, type Effects, same, withDrift } from "./comparison";
import { checkInputs, ownSource, sourceFailures } from "./input-check";
import type { CheckResult, DiffResult, Lifecycle, Properties } from "./lifecycle";
import { isOwn, printOnce, rememberOwn } from "./own-names";
import { sourceInputShape, sslModeOf, withoutPlainSecrets } from "./source-input";
import { containsUnknown, isUnknown } from "./unknown-value";

export const shape = {
  ...sourceInputShape,
  flavour: z.enum(flavours).optional(),
  uncappedSlotWal: z.enum(["warn", "error", "ignore"]).optional(),
  createsPublications: z.boolean().optional(),
  longTransactionMs: z.int().min(0).max(86_400_000).optional(),
  preflight: z.enum(["preview", "up"]).default("preview"),
};

const sourceKeys = Object.keys(sourceInputShape);

/**
 * Pure: inputs with defaults and `source`, the settings as one object for the other resources. An engine keeps secret
 * what has the name of a secret input: `source` hasn't, and lacks secrets that are values.
 */
export function checkConnection(news: Properties): CheckResult {
  const { inputs, failures } = checkInputs(shape, news);
  inputs.sslMode ??= sslModeOf(inputs);
  inputs.source = withoutPlainSecrets(pick(inputs, sourceKeys));
  for (const { property, message } of sourceProblems(inputs)) failures.push({ property, reason: message });
  return { inputs, failures };
}

/** With all secrets: for our own sessions only. */
const sourceOf = (inputs: Properties) =>
  ({ ...(inputs.source as SourceConfig), ...pick(inputs, ["password", "sslKey"]) }) as SourceConfig;

/** Another database is another connection; another host or user may lead to the same one: `update` verifies it. */
export const connectionEffects: Effects = {
  ...Object.fromEntries(sourceKeys.map((key) => [key, "inPlace"] as const)),
  database: "newSlot",
  connectTimeoutMs: "none",
  flavour: "none",
  uncappedSlotWal: "none",
  createsPublications: "none",
  longTransactionMs: "none",
  preflight: "none",
};

/** Pure. */
export function diffConnection(olds: Properties, news: Properties): DiffResult {
  return withDrift(compare(connectionEffects, olds, news), olds);
}

const policyKeys = ["flavour", "uncappedSlotWal", "createsPublications", "longTransactionMs"] as const;
type Policy = z.infer<z.ZodObject<Pick<typeof shape, (typeof policyKeys)[number]>>>;

const longTransactionMsDefault = 30_000;

async function inspect(inputs: Properties, needsSlot: boolean, check: boolean) {
  const source = sourceOf(inputs);
  const policy: Policy = Object.fromEntries(
    policyKeys.map((key) => [key, isUnknown(inputs[key]) ? undefined : inputs[key]]),
  );
  const { flavour, uncappedSlotWal, createsPublications, longTransactionMs } = policy;
  const options = { needsSlot, allowStandby: source.standby === "allow", createsPublications, uncappedSlotWal };
  const doing = "preflight of the source";
  const work = async (client: Client, at: (what: string) => void) => {
    at("reading settings and privileges");
    const facts = await readSourceFacts(client, flavour);
    const systemIdentifier = await readSystemIdentifier(client);
    const findings = findProblems(facts, options);
    // On a standby a slot waits for the primary's.
    if (needsSlot && !facts.inRecovery) {
      at("looking for open transactions");
      const ageMsMin = longTransactionMs ?? longTransactionMsDefault;
      findings.push(...findLongTransactions(await readOpenTransactions(client), { ageMsMin, user: facts.user }));
    }
    return { facts, systemIdentifier, findings };
  };
  return check ? withCheck(source, doing, work) : withAdmin(source, doing, (client) => work(client, () => {}));
}

const errorsOf = (findings: Finding[]) => findings.filter((finding) => finding.severity === "error");
const describe = (finding: Finding) => `${finding.message}\n  remedy: ${finding.remedy}`;

async function outputs(inputs: Properties, needsSlot: boolean): Promise<Properties> {
  const { facts, systemIdentifier, findings } = await inspect(inputs, needsSlot, false);
  const errors = errorsOf(findings);
  if (errors.length > 0) {
    const { message, remedy } = errors[errors.length - 1];
    const told = [...errors.slice(0, -1).map(describe), message].join("\n");
    throw new SluiceError("source-setting", `the source can't be replicated: ${told}`, { remedy });
  }
  return {
    ...inputs,
    serverVersion: facts.version,
    databaseOid: facts.databaseOid,
    // empty where our role may not read it
    systemIdentifier: systemIdentifier ?? "",
    // Notes are of the moment.
    findings: findings
      .filter(({ severity }) => severity !== "note")
      .map((finding) => `${finding.severity}: ${finding.message}; ${finding.remedy}`),
    drift: [],
  };
}

export const connection: Lifecycle = {
  async check(olds, news) {
    const result = checkConnection(news);
    const { inputs, failures } = result;
    const source = sourceOf(inputs);
    const server = `${source.host}:${source.port}`;
    const existing = olds.source !== undefined;
    if (existing) {
      const old = olds.source as SourceConfig;
      rememberOwn("server", `${old.host}:${old.port}`);
    }
    const unchanged = existing && same(pick(olds, Object.keys(shape)), pick(inputs, Object.keys(shape)));
    if (existing && failures.length === 0) {
      const name = containsUnknown([source.host, source.port]) ? undefined : server;
      tellCost("Connection", name, olds, inputs, changesOf(connectionEffects, olds, inputs));
    }
    if (failures.length > 0 || unchanged || inputs.preflight !== "preview" || containsUnknown(source)) return result;
    try {
      const needsSlot = !existing && !isOwn("server", server);
      const { findings } = await inspect(inputs, needsSlot, true);
      for (const finding of findings) {
        if (finding.severity === "error") failures.push({ property: finding.property, reason: describe(finding) });
        else printOnce(`${finding.severity}: ${server}: ${finding.message}. ${finding.remedy}`);
      }
    } catch (error) {
      failures.push(...sourceFailures(error, source, ownSource));
    }
    return result;
  },

  diff: (_id, olds, news) => diffConnection(olds, news),

  async create(inputs) {
    const outs = await outputs(inputs, true);
    return { id: `${outs.systemIdentifier || inputs.host}/${outs.databaseOid}`, outs };
  },

  async read(id, props) {
    const source = sourceOf(props);
    try {
      const { facts, systemIdentifier, findings } = await inspect(props, false, false);
      const drift = errorsOf(findings).map(describe);
      if ((systemIdentifier ?? "") !== props.systemIdentifier || facts.databaseOid !== props.databaseOid) {
        drift.push(otherServer(source).describe());
      }
      return {
        id,
        props: { ...props, serverVersion: facts.version, drift },
        inputs: pick(props, [...Object.keys(shape), "source", "changeCost"]),
      };
    } catch (error) {
      if (error instanceof SluiceError && error.sqlState === "3D000") return { id: "" };
      throw error;
    }
  },

  async update(_id, olds, news) {
    const outs = await outputs(news, false);
    const moved =
      olds.systemIdentifier !== outs.systemIdentifier ||
      (olds.databaseOid !== undefined && olds.databaseOid !== outs.databaseOid);
    if (moved) throw otherServer(news.source as SourceConfig);
    return { outs };
  },

  /** Nothing of a connection is on the server. */
  async delete() {},
};

function otherServer(source: SourceConfig): SluiceError {
  return new SluiceError(
    "config",
    `${source.host}:${source.port}/${source.database} is another PostgreSQL cluster or database than this stack replicates`,
    {
      remedy:
        "Correct host and port; or, to move to the new one with new snapshots, replace the Connection: pulumi up --replace <its URN>.",
    },
  );
}

export function pick(from: Properties, names: readonly string[]): Properties {
  return Object.fromEntries(names.filter((name) => from[name] !== undefined).map((name) => [name, from[name]]));
}
