// Contract: what Pulumi stores in a state as code is small, captures nothing but the kind, and reaches everything else
// through one name of the package that stays.
import { join } from "node:path";
import * as pulumi from "@pulumi/pulumi";
import { describe, expect, it } from "vitest";
import type { StoredProvider as StoredProviderClass } from "../../provider/dynamic-provider";

// As built: vitest rewrites import().
const { StoredProvider } = require(join(process.cwd(), "dist/provider/dynamic-provider.js")) as {
  StoredProvider: typeof StoredProviderClass;
};

describe("the stored code", () => {
  it("is small, and names the handlers only", async () => {
    const provider = new StoredProvider("Gateway");
    const { text } = await pulumi.runtime.serializeFunction(() => provider);
    expect(text.length).toBeLessThan(4_096);
    const modules = [...text.matchAll(/(?:import|require)\(([^)]*)\)/g)].map(([, name]) => name);
    expect(new Set(modules)).toEqual(new Set(['"pulumi-sluice/provider/handlers"']));
    expect(text).toContain('kind = "Gateway"');
    expect(text).not.toContain(process.cwd());
  });
});
