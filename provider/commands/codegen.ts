import { readFileSync, renameSync, writeFileSync } from "node:fs";
import { describeError, SluiceError } from "../../runtime/errors";
import { readServerVersion } from "../../runtime/postgres/server-version";
import { catalogSource } from "../codegen/catalog-source";
import { withAdmin } from "../postgres/admin-session";
import { readTableCatalog } from "../postgres/table-catalog";
import { type Command, parseOptions, print, printJson } from "./command";
import { sourceOf, sourceOptions, sourceUsage } from "./source-options";

const options = {
  ...sourceOptions,
  schema: { type: "string", multiple: true },
  partitions: { type: "boolean" },
  out: { type: "string" },
  check: { type: "boolean" },
} as const;

export const codegen: Command = {
  name: "codegen",
  summary: "a typed catalogue of the source's tables, for programs",
  usage: `sluice codegen: a TypeScript module with the tables of the source, for table(), tableOptions() and row filters

${sourceUsage}  --schema NAME          only tables of this schema; may be given again (all but the system's)
  --partitions           partitions too, beside the partitioned tables
  --out FILE             written there, where it differs (else to standard output)
  --check                writes nothing; ends with 1 where FILE differs from the source
  --json                 one line of JSON about FILE instead of words
`,
  async run(argv) {
    const values = parseOptions("codegen", argv, options);
    if (values.out === undefined && (values.check === true || values.json === true)) {
      throw new SluiceError("config", "sluice codegen: --check and --json need --out FILE", {
        remedy: "Name the file that programs import.",
      });
    }
    const source = sourceOf("codegen", values);
    const { text, count } = await withAdmin(source, "reading the tables", async (client) => {
      const major = Math.trunc((await readServerVersion(client)) / 10_000);
      const found = await readTableCatalog(client, values.schema ?? null);
      const tables = found.filter(({ kind }) => kind !== "partition" || values.partitions === true);
      return { text: catalogSource(tables, major), count: tables.length };
    });
    if (values.out === undefined) {
      print(text);
      return 0;
    }
    const before = readExisting(values.out);
    const differs = before !== text;
    if (differs && values.check !== true) replaceFile(values.out, text);
    if (values.json === true)
      printJson({ file: values.out, tables: count, differs, written: differs && !values.check });
    else print(describe(values.out, before, text, count, values.check === true));
    return differs && values.check === true ? 1 : 0;
  },
};

function describe(file: string, before: string | null, text: string, count: number, isCheck: boolean): string {
  const tables = `${count} ${count === 1 ? "table" : "tables"}`;
  if (before === text) return `${file} has the source's ${tables}`;
  if (!isCheck) return `${file} written: ${tables}`;
  const what = before === null ? "does not exist" : `is stale from its line ${firstDifference(before, text)} on`;
  return `${file} ${what}\n  remedy: Run sluice codegen without --check, and look at what its change does to the stack.`;
}

function firstDifference(before: string, after: string): number {
  const lines = after.split("\n");
  const given = before.split("\n");
  const index = lines.findIndex((line, at) => line !== given[at]);
  return (index < 0 ? lines.length : index) + 1;
}

function readExisting(file: string): string | null {
  try {
    return readFileSync(file, "utf8");
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === "ENOENT") return null;
    throw unusable(file, cause);
  }
}

/** As a whole: a program that is compiled meanwhile sees one or the other. */
function replaceFile(file: string, text: string): void {
  const next = `${file}.${process.pid}`;
  try {
    writeFileSync(next, text);
    renameSync(next, file);
  } catch (cause) {
    throw unusable(file, cause);
  }
}

function unusable(file: string, cause: unknown): SluiceError {
  return new SluiceError("config", `${file} can't be used: ${describeError(cause)}`, {
    cause,
    remedy: "Correct --out.",
  });
}
