import * as pulumi from "@pulumi/pulumi";

export interface Declared {
  type: string;
  name: string;
  inputs: Record<string, unknown>;
}

/** What a program declares, without an engine: the resources of Databricks in order. Inputs are plain, secrets too. */
export async function declaredBy(program: () => void): Promise<Declared[]> {
  const made: Declared[] = [];
  await pulumi.runtime.setMocks(
    {
      newResource({ type, name, inputs }) {
        made.push({ type, name, inputs: plain(inputs) as Record<string, unknown> });
        const outputs = {
          source: { host: "db.example.com", database: "shop", user: "sluice" },
          slotName: "slot_1",
          policyId: "policy-1",
          publicationName: "publication_1",
          url: `https://workspace.example/${name}`,
          stagingPath: "/Volumes/main/sluice/staging/shop",
        };
        return { id: `${name}-id`, state: { ...inputs, ...outputs } };
      },
      call: () => ({}),
    },
    "shop",
    "dev",
    false,
    "acme",
  );
  program();
  await pulumi.runtime.disconnect();
  return made.filter(({ type }) => type.startsWith("databricks:"));
}

const secretKey = "4dabf18193072939515e22adb298388d";

/** Pure. */
function plain(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(plain);
  if (typeof value !== "object" || value === null) return value;
  if (secretKey in value) return plain((value as { value?: unknown }).value);
  return Object.fromEntries(Object.entries(value).map(([key, member]) => [key, plain(member)]));
}
