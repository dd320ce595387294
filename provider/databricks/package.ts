import type * as databricks from "@pulumi/databricks";
import { SluiceError } from "../../runtime/errors";

/**
 * `@pulumi/databricks`, loaded when something of it is declared first: an optional peer, since the CLI fetches the plug-in of each
 * package that is installed. It is the program's, also where this package is linked into it.
 * @throws SluiceError `config` where it isn't installed
 */
export function databricksPackage(): typeof databricks {
  try {
    const path = require.resolve("@pulumi/databricks", { paths: [__dirname, process.cwd()] });
    return require(path) as typeof databricks;
  } catch (cause) {
    if ((cause as { code?: string }).code !== "MODULE_NOT_FOUND") throw cause;
    throw new SluiceError("config", "the package @pulumi/databricks isn't installed", {
      remedy: "Run npm install @pulumi/databricks in the program's folder.",
      cause,
    });
  }
}
