import type * as databricks from "@pulumi/databricks";
import { SluiceError } from "../../runtime/errors";

/**
 * `@pulumi/databricks`, loaded when something of it is declared first.
 * @throws SluiceError `config` where it isn't installed
 */
export function databricksPackage(): typeof databricks {
  try {
    return require("@pulumi/databricks") as typeof databricks;
  } catch (cause) {
    if ((cause as { code?: string }).code !== "MODULE_NOT_FOUND") throw cause;
    throw new SluiceError("config", "the package @pulumi/databricks isn't installed", {
      remedy: "Run npm install @pulumi/databricks in the program's folder.",
      cause,
    });
  }
}
