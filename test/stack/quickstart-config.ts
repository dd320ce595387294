import { join } from "node:path";

/** Who connects to which source, as the quickstart's configuration has it. */
interface QuickstartSource {
  host: string;
  port: number;
  database: string;
  user: string;
  passwordEnv: string;
}

/** Configuration of the quickstart's stack, with its state and its lake in a folder. */
export function quickstartConfig(
  { host, port, database, user, passwordEnv }: QuickstartSource,
  tables: string[],
  folder: string,
): Record<string, string> {
  const config = {
    host,
    port: String(port),
    database,
    user,
    passwordEnv,
    tables: JSON.stringify(tables),
    stateDir: join(folder, "state"),
    destination: join(folder, "lake"),
  };
  return Object.fromEntries(Object.entries(config).map(([key, value]) => [`sluice-quickstart:${key}`, value]));
}
