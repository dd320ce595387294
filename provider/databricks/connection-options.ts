import { SluiceError } from "../../runtime/errors";
import { resolveSecret, type SecretReference } from "../../runtime/secret-reference";
import { isLoopback } from "../../runtime/source-config";
import type { ManagedDestination } from "./managed-inputs";

interface ReachedSource {
  host: string;
  port?: number;
  user: string;
  password?: SecretReference | string;
}

/**
 * The options of a connection of Unity Catalog, all texts, the password as a value: Databricks keeps it.
 * @throws SluiceError `config` for what Databricks can't reach, or has no password of
 */
export function connectionOptions(connection: ManagedDestination["connection"], source: ReachedSource) {
  const address = typeof connection === "string" ? {} : connection;
  const host = address.host ?? source.host;
  if (isLoopback(host)) {
    throw new SluiceError("config", `Databricks can't reach ${host}, which is an address of this machine`, {
      remedy: "Give the source's address as Databricks sees it: destination.connection.host.",
    });
  }
  if (source.password === undefined) {
    throw new SluiceError("config", "a connection of Unity Catalog needs the source's password", {
      remedy: "Give source.password, or the name of a connection that is there: destination.connection.",
    });
  }
  const port = String(address.port ?? source.port ?? 5432);
  return { host, port, user: source.user, password: resolveSecret(source.password, "source.password") };
}
