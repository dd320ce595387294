import { z } from "zod";
import { type ChangeCost, describeCost } from "../lifecycle/change-cost";

const stepSchema = z.looseObject({
  op: z.string(),
  urn: z.string(),
  newState: z.looseObject({ inputs: z.looseObject({ changeCost: z.unknown().optional() }).optional() }).optional(),
});

/** What `pulumi preview --json` writes, as far as it is read here. */
export const previewSchema = z.looseObject({
  steps: z.array(stepSchema).default([]),
  diagnostics: z
    .array(z.looseObject({ message: z.string().default(""), severity: z.string().default("") }))
    .default([]),
});
export type Preview = z.infer<typeof previewSchema>;

const copies = {
  because: z.array(z.string()),
  tables: z.array(z.string()).nullable(),
  rows: z.number().nullable(),
  bytes: z.number().nullable(),
};
const because = { because: copies.because };
const costSchema: z.ZodType<ChangeCost> = z.discriminatedUnion("kind", [
  z.object({ kind: z.literal("none"), ...because }),
  z.object({ kind: z.literal("inPlace"), ...because }),
  z.object({ kind: z.literal("restart"), ...because }),
  z.object({ kind: z.literal("resnapshot"), ...copies }),
  z.object({ kind: z.literal("newStaging"), ...copies }),
  z.object({ kind: z.literal("newSlot"), ...copies }),
]);

const type = /[:$]pulumi-nodejs:dynamic\/sluice:(\w+)::(.*)$/;
/** A replacement is told once, by its `replace`. */
const silent = new Set(["same", "read", "refresh", "create-replacement", "delete-replaced"]);

/** Pure: a Markdown table of what each change costs, for a comment on a pull request. */
export function costReport({ steps, diagnostics }: Preview): string {
  const rows = steps.flatMap(({ op, urn, newState }) => {
    const [, kind, name] = type.exec(urn) ?? [];
    if (kind === undefined || silent.has(op)) return [];
    return [`| ${cell(`${kind} ${name}`)} | ${cell(op)} | ${cell(costText(kind, op, newState?.inputs?.changeCost))} |`];
  });
  const errors = diagnostics.filter(({ severity }) => severity === "error").map(({ message }) => message.trim());
  return [
    "### What this change costs",
    "",
    ...(rows.length === 0
      ? [errors.length === 0 ? "Nothing: no resource of Sluice changes." : "Not known: the preview failed."]
      : ["| resource | | cost |", "|---|---|---|", ...rows]),
    ...errors.flatMap((message) => ["", "```", message.replaceAll("```", "'''"), "```"]),
    "",
  ].join("\n");
}

function costText(kind: string, op: string, cost: unknown): string {
  if (kind === "Connection" && op === "create") return "looks at the source; makes nothing";
  if (op === "delete") return "removed, with what it made on the source and on this machine";
  const parsed = costSchema.safeParse(cost);
  return parsed.success ? describeCost(parsed.data) : "not told";
}

/** Names come from the source: none of them may end a cell or begin HTML. */
const cell = (text: string) =>
  text
    .replaceAll("&", "&amp;")
    .replaceAll("<", "&lt;")
    .replaceAll("@", "&#64;")
    .replaceAll("\\", "\\\\")
    .replaceAll("|", "\\|")
    .replaceAll(/\s+/g, " ");
