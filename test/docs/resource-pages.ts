import type { Effect, Effects } from "../../provider/lifecycle/comparison";
import { connectionEffects, shape as connectionShape } from "../../provider/lifecycle/connection";
import { gatewayEffects, shape as gatewayShape } from "../../provider/lifecycle/gateway-inputs";
import { ingestionPipelineEffects, shape as pipelineShape } from "../../provider/lifecycle/ingestion-pipeline-inputs";
import { publicationEffects, shape as publicationShape } from "../../provider/lifecycle/publication-inputs";
import { replicationSlotEffects, shape as slotShape } from "../../provider/lifecycle/replication-slot-inputs";
import { allMembers, type Declaration, type Member } from "./declarations";

export interface ResourcePage {
  /** of docs/resources, without its ending */
  file: string;
  resource: string;
  /** of the lifecycle; null for the component, whose inputs are its resources' */
  effects: Effects | null;
  shape: object | null;
  /** inputs that no program gives: the provider's own */
  internal?: readonly string[];
}

export const resourcePages: readonly ResourcePage[] = [
  { file: "connection", resource: "Connection", effects: connectionEffects, shape: connectionShape },
  {
    file: "publication",
    resource: "Publication",
    effects: publicationEffects,
    shape: publicationShape,
    internal: ["pipelineId", "origin"],
  },
  {
    file: "replication-slot",
    resource: "ReplicationSlot",
    effects: replicationSlotEffects,
    shape: slotShape,
    internal: ["retainOnDelete"],
  },
  { file: "gateway", resource: "Gateway", effects: gatewayEffects, shape: gatewayShape },
  {
    file: "ingestion-pipeline",
    resource: "IngestionPipeline",
    effects: ingestionPipelineEffects,
    shape: pipelineShape,
    internal: ["origin"],
  },
  { file: "postgres-ingestion", resource: "PostgresIngestion", effects: null, shape: null },
  { file: "declarative-pipeline", resource: "DeclarativePipeline", effects: null, shape: null },
  { file: "managed-pipelines", resource: "ManagedPipelines", effects: null, shape: null },
  { file: "databricks-securables", resource: "DatabricksSecurables", effects: null, shape: null },
];

const words: Record<Effect, string> = {
  none: "no effect",
  inPlace: "in place",
  restart: "restarts",
  resnapshot: "copies tables",
  newStaging: "replaces, new staging",
  newSlot: "replaces, new slot",
};

/** Pure: what becomes of the resource when the input changes. */
export function describeEffect(effect: Effects[string] | undefined): string {
  if (effect === undefined) return words.none;
  if (typeof effect === "string") return words[effect];
  return `\`${effect.part}\`: ${words[effect.effect]}; else ${words[effect.else]}`;
}

type Declarations = ReadonlyMap<string, Declaration>;

/** Pure: a page with its generated parts made anew; all else stays as it is. */
export function regenerated(page: ResourcePage, text: string, declarations: Declarations): string {
  const inputs = allMembers(declarations, `${page.resource}Args`);
  const parts: Record<string, string> = {
    inputs: inputTable(inputs, page.effects),
    parts: partTables(inputs, declarations),
    outputs: outputTable(declarations.get(page.resource)?.members ?? [], new Set(inputs.map(({ name }) => name))),
  };
  return Object.entries(parts).reduce((result, [name, table]) => {
    const place = new RegExp(`(<!-- ${name} -->\\n)[\\s\\S]*?(<!-- /${name} -->)`);
    if (!place.test(result)) throw new Error(`${page.file}.md has no <!-- ${name} --> … <!-- /${name} -->`);
    return result.replace(place, (_, start: string, end: string) => `${start}${table}${end}`);
  }, text);
}

function inputTable(inputs: Member[], effects: Effects | null): string {
  const rows = inputs.map(({ name, optional, type, documentation }) => {
    const label = `\`${name}\`${optional || name.includes(".") ? "" : " (needed)"}`;
    const effect = effects === null ? [] : [describeEffect(effects[name])];
    const [owner] = name.split(".");
    const page = owner === name ? undefined : pageOf[owner];
    const meaning = documentation === "" && page !== undefined ? `See [${owner}](${page}).` : documentation;
    return [label, code(type), ...effect, cell(meaning)];
  });
  return table(["input", "type", ...(effects === null ? [] : ["a change"]), "meaning"], rows);
}

/** Pages of the resources whose settings the component groups. */
const pageOf: Record<string, string | undefined> = { gateway: "gateway.md", applier: "ingestion-pipeline.md" };

const outputTable = (outputs: Member[], inputs: ReadonlySet<string>) =>
  table(
    ["output", "type", "meaning"],
    outputs.map(({ name, type, documentation }) => {
      const meaning = documentation === "" && inputs.has(name) ? "As the input; `refresh` reads it." : documentation;
      return [`\`${name}\``, code(type), cell(meaning)];
    }),
  );

/** The interfaces that inputs are made of, and those that these are made of. */
function partTables(inputs: Member[], declarations: Declarations): string {
  const named = new Set<string>();
  const collect = (types: string[]) => {
    for (const [name] of types.flatMap((type) => [...type.matchAll(/\b[A-Z]\w+\b/g)])) {
      const declaration = declarations.get(name);
      if (named.has(name) || declaration === undefined) continue;
      named.add(name);
      collect([declaration.alias, ...declaration.members.map(({ type }) => type)]);
    }
  };
  collect(inputs.map(({ type }) => type));
  const sections = [...named].sort().map((name) => {
    const { documentation } = declarations.get(name) as Declaration;
    const members = allMembers(declarations, name);
    const rows = members.map((member) => [`\`${member.name}\``, code(member.type), cell(member.documentation)]);
    const body = rows.length === 0 ? "" : `\n${table(["field", "type", "meaning"], rows)}`;
    return `### ${name}\n${documentation === "" ? "" : `${documentation}\n`}${body}`;
  });
  return sections.length === 0 ? "" : `${sections.join("\n")}`;
}

function table(head: string[], rows: string[][]): string {
  const line = (cells: string[]) => `| ${cells.join(" | ")} |\n`;
  return `${line(head)}${`|${"---|".repeat(head.length)}\n`}${rows.map(line).join("")}`;
}

const cell = (text: string) => text.replaceAll("|", "\\|");
const code = (text: string) => `\`${cell(text)}\``;
