// Contract: every input of every resource has a schema. What has another shape is told at its path with a remedy and
// without the value that was given, and so is one that there isn't or that lacks; what isn't known yet passes anywhere.
// Invariant 6: no secret leaves the place it was given to.
import { describe, expect, it } from "vitest";
import { z } from "zod";
import { connection, shape as connectionShape } from "../../../provider/lifecycle/connection";
import { checkGatewayInputs, shape as gatewayShape } from "../../../provider/lifecycle/gateway-inputs";
import {
  checkIngestionPipelineInputs,
  shape as pipelineShape,
} from "../../../provider/lifecycle/ingestion-pipeline-inputs";
import { checkInputs } from "../../../provider/lifecycle/input-check";
import type { CheckResult, Properties } from "../../../provider/lifecycle/lifecycle";
import { checkPublication, shape as publicationShape } from "../../../provider/lifecycle/publication-inputs";
import { checkReplicationSlot, shape as slotShape } from "../../../provider/lifecycle/replication-slot-inputs";
import { unknownValue } from "../../../provider/lifecycle/unknown-value";

const source = { host: "db", database: "shop", user: "ingest", password: { env: "PW" } };
const process = { deploymentId: "a", stateDir: "/state", stagingPath: "/staging" };

const resources: Record<
  string,
  { shape: object; sound: Properties; check: (news: Properties) => CheckResult | Promise<CheckResult> }
> = {
  Connection: {
    shape: connectionShape,
    sound: { ...source, preflight: "up" },
    check: (news) => connection.check({}, news),
  },
  Publication: {
    shape: publicationShape,
    sound: { source, tables: ["a.b"] },
    check: (news) => checkPublication({}, news),
  },
  ReplicationSlot: {
    shape: slotShape,
    sound: { source, publicationName: "p", pipelineId: "a" },
    check: (news) => checkReplicationSlot({}, news),
  },
  Gateway: {
    shape: gatewayShape,
    sound: { ...process, source, slotName: "s", slotIncarnation: "1", publicationName: "p" },
    check: (news) => checkGatewayInputs({}, news),
  },
  IngestionPipeline: {
    shape: pipelineShape,
    sound: { ...process, stagingIncarnation: "1", destination: { kind: "local", path: "/lake" } },
    check: (news) => checkIngestionPipelineInputs(news),
  },
};

const canary = "canary-5d1b";
const remedy = /\n {2}remedy: \S/;
const inputs = Object.entries(resources).flatMap(([kind, { shape }]) => Object.keys(shape).map((name) => [kind, name]));

/** What an input needs beside it. */
const together: Record<string, Properties> = {
  sslCert: { sslKey: { env: "KEY" } },
  sslCertFile: { sslKey: { env: "KEY" } },
  sslKey: { sslCertFile: "/client.pem" },
};

describe("an input", () => {
  it.each(inputs)("of %s: %s", async (kind, name) => {
    const { sound, check } = resources[kind];
    expect((await check(sound)).failures).toEqual([]);
    expect((await check({ ...sound, ...together[name], [name]: unknownValue })).failures).toEqual([]);
    const { failures } = await check({ ...sound, [name]: { [canary]: canary } });
    expect(failures.length).toBeGreaterThan(0);
    for (const { property, reason } of failures) {
      expect(property).toMatch(new RegExp(`^${name}\\b`));
      expect(reason).toMatch(remedy);
    }
    // Names of properties are told, values aren't.
    expect(
      JSON.stringify(failures).replaceAll(new RegExp(`Unrecognized key: ."${canary}.*?from|Remove ${canary}`, "g"), ""),
    ).not.toContain(canary);
    const spelt = await check({ ...sound, [`${name}s_`]: 1 });
    expect(spelt.failures).toMatchObject([{ property: `${name}s_`, reason: expect.stringMatching(remedy) }]);
  });

  it.each(Object.keys(resources))("of %s that is needed is asked for", async (kind) => {
    const { check, sound } = resources[kind];
    const { failures } = await check({ preflight: "up" });
    expect(failures.length).toBeGreaterThan(0);
    for (const { property, reason } of failures) {
      expect(sound).toHaveProperty(property);
      expect(reason).toMatch(remedy);
    }
  });
});

describe("a remedy", () => {
  it.each<[z.ZodType, unknown, string]>([
    [z.string(), 1, "Give it as a string."],
    [z.int(), 0.5, "Give it as an int."],
    [z.enum(["one", "two"]), "three", 'Use one of: "one", "two".'],
    [z.number().min(3), 2, "Use a value of at least 3."],
    [z.number().max(3), 4, "Use a value of at most 3."],
    [z.string().min(3), "ab", "Use 3 or more characters."],
    [z.array(z.int()).max(1), [1, 2], "Use 1 or fewer elements."],
    [z.strictObject({}), { extra: 1 }, "Remove extra from it, or correct the spelling."],
    [z.string().regex(/^a/), "b", "Correct it, or leave it out where it is optional."],
    [z.custom<string>(() => false, { error: "is odd\n  remedy: Make it even." }), 1, "Make it even."],
  ])("%# says what to do", (schema, value, said) => {
    const { failures } = checkInputs({ it: schema }, { it: value });
    expect(failures.map(({ reason }) => reason.split("\n  remedy: ")[1])).toEqual([said]);
  });

  it("is at the path of what is wrong", () => {
    const shape = { list: z.array(z.object({ name: z.string() })) };
    expect(checkInputs(shape, { list: [{ name: "a" }, {}] }).failures).toEqual([
      { property: "list[1].name", reason: expect.stringContaining("\n  remedy: Give list[1].name.") },
    ]);
  });
});
