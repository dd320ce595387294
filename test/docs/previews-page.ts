import type { Recorded } from "./previews-scenario";

const introduction = `# What previews, refreshes and destroys say
Recorded from one stack by \`npm run docs -- --previews\`, as the project's small engine prints it; \`pulumi\` prints the same
steps and sentences in its own layout. Ids, times and sizes are left out (…).
`;

/** Pure: docs/previews.md. */
export function previewsPage(recorded: readonly Recorded[]): string {
  return [introduction, ...recorded.map(section)].join("\n");
}

function section({ title, given, command, lines }: Recorded): string {
  const language = /^[A-Z]{3,}/.test(given) ? "sql" : "ts";
  const change = given === "" ? "" : `\`\`\`${language}\n${given}\n\`\`\`\n`;
  const said = lines.length === 0 ? "nothing to do" : lines.join("\n");
  return `## ${title}\n${change}\`\`\`\n$ ${command}\n${said}\n\`\`\`\n`;
}
