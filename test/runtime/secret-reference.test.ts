// Contract: a secret is read where it is used: from a variable, else from the credential of its name that systemd gave to the
// unit, or from a file; one that isn't there says so and how to give it, never a value (invariant 6).
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { SluiceError } from "../../runtime/errors";
import { resolveSecret } from "../../runtime/secret-reference";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "sluice-secret-"));
});
afterEach(() => {
  vi.unstubAllEnvs();
  rmSync(folder, { recursive: true });
});

const resolve = (reference: Parameters<typeof resolveSecret>[0]) => resolveSecret(reference, "source.password");
const problem = (reference: Parameters<typeof resolveSecret>[0]): SluiceError => {
  try {
    resolve(reference);
  } catch (error) {
    if (error instanceof SluiceError) return error;
  }
  throw new Error("it was resolved");
};

describe("a secret", () => {
  it("is a variable's value, else a credential's, whole", () => {
    const reference = { env: "SLUICE_TEST_SECRET" };
    expect(problem(reference).message).toContain("SLUICE_TEST_SECRET is not set");
    vi.stubEnv("CREDENTIALS_DIRECTORY", folder);
    expect(problem(reference).remedy).toMatch(/Set SLUICE_TEST_SECRET .* shared mount/);
    writeFileSync(join(folder, "SLUICE_TEST_SECRET"), "of the unit\n");
    expect(resolve(reference)).toBe("of the unit\n");
    vi.stubEnv("SLUICE_TEST_SECRET", "of the environment");
    expect(resolve(reference)).toBe("of the environment");
  });

  it("of a file lacks the file's last newline; a value is itself", () => {
    const file = join(folder, "password");
    expect(problem({ file }).message).toContain(`the file ${file} can't be read`);
    writeFileSync(file, "hunter2\r\n");
    expect(resolve({ file })).toBe("hunter2");
    expect(resolve("given")).toBe("given");
  });
});
