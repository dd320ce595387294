import * as pulumi from "@pulumi/pulumi";

export interface Declared {
  type: string;
  name: string;
  inputs: Record<string, unknown>;
  /** Of a resource whose parents were made with the options that the program was given; else empty. */
  options: pulumi.CustomResourceOptions;
}

/**
 * What a program declares, without an engine: the resources of Databricks in order, or those whose type has `of` in it. Inputs
 * are plain, secrets too.
 */
export async function declaredBy(
  program: (options: pulumi.ComponentResourceOptions) => void,
  of = "databricks:",
): Promise<Declared[]> {
  const made: Declared[] = [];
  const given = new Map<string, pulumi.CustomResourceOptions>();
  const seen: pulumi.ResourceTransformation = ({ type, name, props, opts }) => {
    given.set(`${type} ${name}`, opts);
    return { props, opts };
  };
  await pulumi.runtime.setMocks(
    {
      newResource({ type, name, inputs }) {
        made.push({
          type,
          name,
          inputs: plain(inputs) as Record<string, unknown>,
          options: given.get(`${type} ${name}`) ?? {},
        });
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
  program({ transformations: [seen] });
  await pulumi.runtime.disconnect();
  return made.filter(({ type }) => type.includes(of));
}

const secretKey = "4dabf18193072939515e22adb298388d";

/** Pure. */
function plain(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(plain);
  if (typeof value !== "object" || value === null) return value;
  if (secretKey in value) return plain((value as { value?: unknown }).value);
  return Object.fromEntries(Object.entries(value).map(([key, member]) => [key, plain(member)]));
}
