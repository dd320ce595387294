import type { EnforcementLevel, ResourceValidationPolicy } from "@pulumi/policy";
import type { Catalog } from "../typed/catalog";
import {
  cappedSlotRetention,
  defaultSettings,
  narrowFullIdentity,
  passwordByReference,
  protectedTables,
  type Rule,
  type RuleSettings,
  tlsOn,
} from "./rules";

export interface PolicyOptions {
  /** What `sluice codegen` wrote: tables are wide by their columns. Without it FULL is told of every table that chose it. */
  catalog?: Catalog;
}

const typePrefix = "pulumi-nodejs:dynamic/sluice:";

/**
 * Rules over the resources of this package, for a policy pack of your own:
 * `new PolicyPack("sluice", { policies: sluicePolicies() })`. Levels and settings are changed by the pack's configuration.
 */
export function sluicePolicies({ catalog }: PolicyOptions = {}): ResourceValidationPolicy[] {
  const tables = catalog === undefined ? null : Object.values(catalog).flatMap((schema) => Object.values(schema));
  return [
    policy(
      "slot-retention-capped",
      "mandatory",
      "The WAL that a slot keeps is capped at the source.",
      cappedSlotRetention,
    ),
    policy(
      "password-by-reference",
      "advisory",
      "Passwords are references, not values in the state.",
      passwordByReference,
    ),
    policy("tls-on", "mandatory", "The source is reached by TLS, off the loopback interface.", tlsOn, {
      sslModeMin: {
        type: "string",
        enum: ["require", "verify-ca", "verify-full"],
        default: defaultSettings.sslModeMin,
      },
    }),
    policy("dropped-tables-protected", "mandatory", "What a delete drops is protected.", protectedTables),
    policy(
      "full-identity-narrow",
      "advisory",
      "Wide tables aren't REPLICA IDENTITY FULL.",
      narrowFullIdentity(tables),
      {
        columnsMax: { type: "integer", minimum: 1, default: defaultSettings.columnsMax },
      },
    ),
  ];
}

type Properties = NonNullable<ResourceValidationPolicy["configSchema"]>["properties"];

function policy(
  name: string,
  enforcementLevel: EnforcementLevel,
  description: string,
  rule: Rule,
  properties?: Properties,
): ResourceValidationPolicy {
  return {
    name,
    description,
    enforcementLevel,
    ...(properties === undefined ? {} : { configSchema: { properties } }),
    validateResource: ({ type, props, opts, getConfig }, report) => {
      if (!type.startsWith(typePrefix)) return;
      const subject = { kind: type.slice(typePrefix.length), inputs: props, isProtected: opts.protect };
      const given = Object.entries(getConfig<Partial<RuleSettings>>()).filter(([, value]) => value !== undefined);
      const settings = { ...defaultSettings, ...Object.fromEntries(given) };
      for (const violation of rule(subject, settings)) report(violation);
    },
  };
}
