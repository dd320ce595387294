/** One JSON line for each event, on standard error: `{"at", "level", "event", …}`. Never a secret, never a row's values. */
export function log(level: "info" | "warning" | "error", event: string, detail: Record<string, unknown> = {}): void {
  const line = { at: new Date().toISOString(), level, event, ...detail };
  process.stderr.write(`${JSON.stringify(line, (_, value) => (typeof value === "bigint" ? String(value) : value))}\n`);
}
