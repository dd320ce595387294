// Contract: an image is pulled with the login that Docker's command line has on this machine, in its file or by its helper; else
// with podman's, the one that is nearest to the image; by nobody where there is none. A file that can't be read is told without what is in it (invariant 6).
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { registryLogin, registryOf } from "../../../provider/deploy/registry-login";
import type { SluiceError } from "../../../runtime/errors";

const hub = "https://index.docker.io/v1/";
let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "sluice-logins-"));
});
afterEach(() => {
  vi.unstubAllEnvs();
  rmSync(folder, { recursive: true, force: true });
});

const write = (content: unknown) =>
  writeFileSync(join(folder, "config.json"), typeof content === "string" ? content : JSON.stringify(content));
const login = (image: string) => registryLogin(image, { HOME: folder, DOCKER_CONFIG: folder, XDG_RUNTIME_DIR: folder });
const auth = (text: string) => ({ auth: Buffer.from(text).toString("base64") });

/** A helper as docker/docker-credential-helpers defines them: the server on stdin, JSON on stdout. */
function helper(name: string, script: string): void {
  const path = join(folder, `docker-credential-${name}`);
  writeFileSync(path, `#!/bin/sh\n${script}\n`);
  chmodSync(path, 0o755);
  vi.stubEnv("PATH", `${folder}:${process.env.PATH}`);
}

describe("the registry of an image", () => {
  it.each([
    ["sluice:1", hub],
    ["shop/sluice", hub],
    ["docker.io/shop/sluice", hub],
    ["localhost/sluice", "localhost"],
    ["registry.example/a/sluice:1", "registry.example"],
    ["127.0.0.1:5000/sluice@sha256:1", "127.0.0.1:5000"],
  ])("%s is %s", (image, registry) => {
    expect(registryOf(image)).toBe(registry);
  });
});

describe("a login", () => {
  it("is that of the file, by the registry's name in any of its forms; others' aren't sent", async () => {
    expect(await login("registry.example/sluice")).toBeUndefined();
    write({ auths: { "https://registry.example/v2/": auth("me:pass:word"), "other.example": auth("other:x") } });
    expect(await login("registry.example/sluice")).toEqual({
      username: "me",
      password: "pass:word",
      serveraddress: "registry.example",
    });
    expect(await login("registry.example:5000/sluice")).toBeUndefined();
    expect(await login("shop/sluice")).toBeUndefined();
    write({ auths: { [hub]: auth("me:hub"), "t.example": { identitytoken: "t0ken", ...auth("") } } });
    expect(await login("shop/sluice")).toMatchObject({ password: "hub" });
    expect(await login("t.example/sluice")).toEqual({ identitytoken: "t0ken", serveraddress: "t.example" });
  });

  it("is what a helper tells of this registry, a token too", async () => {
    helper(
      "one",
      `read -r server; echo "{\\"ServerURL\\":\\"$server\\",\\"Username\\":\\"$1-$server\\",\\"Secret\\":\\"s\\"}"`,
    );
    helper("two", `echo '{"Username":"<token>","Secret":"t0ken"}'`);
    write({ credsStore: "one", credHelpers: { "t.example": "two" }, auths: { "registry.example": {} } });
    expect(await login("registry.example/sluice")).toMatchObject({ username: "get-registry.example", password: "s" });
    expect(await login("t.example/sluice")).toEqual({ identitytoken: "t0ken", serveraddress: "t.example" });
  });

  it("is that of the file where a helper knows none, or isn't there", async () => {
    helper("one", "echo 'credentials not found in native keychain'; exit 1");
    const auths = { "registry.example": auth("me:file") };
    for (const credsStore of ["one", "absent", "../one"]) {
      write({ credsStore, auths });
      expect(await login("registry.example/sluice")).toMatchObject({ password: "file" });
    }
  });

  describe("of podman", () => {
    const writeAt = (path: string, content: unknown) => {
      mkdirSync(dirname(join(folder, path)), { recursive: true });
      writeFileSync(join(folder, path), JSON.stringify(content));
    };

    const nameOf = (found: object | undefined) => (found as { username?: string } | undefined)?.username;

    it("is that of the place nearest to the image, which is sent to no other", async () => {
      const auths = { "q.example/shop": auth("shop:1"), "q.example/shop/s": auth("s:2"), "q.example": auth("all:3") };
      writeAt("containers/auth.json", { auths: { ...auths, "other.example/shop": auth("other:4") } });
      const named = async (image: string) => nameOf(await login(image));
      expect(await named("q.example/shop/s:1")).toBe("s");
      expect(await named("q.example/shop/t@sha256:1")).toBe("shop");
      expect(await named("q.example/shops/s")).toBe("all");
      expect(await named("other.example/shops")).toBeUndefined();
      writeAt("containers/auth.json", { auths: { "docker.io/shop": auth("shop:1"), "docker.io": auth("hub:2") } });
      expect(await named("shop/sluice")).toBe("shop");
      expect(await named("index.docker.io/shop/sluice:1")).toBe("shop");
      expect(await named("sluice:1")).toBe("hub");
    });

    it("is asked for where Docker has none, in the session's file, then in the user's; or in the one that is named", async () => {
      const image = "q.example/sluice";
      const named = async (env: NodeJS.ProcessEnv = {}) =>
        nameOf(await registryLogin(image, { HOME: folder, XDG_RUNTIME_DIR: join(folder, "run"), ...env }));
      const write = (path: string, user: string) => writeAt(path, { auths: { "q.example": auth(`${user}:x`) } });
      expect(await named()).toBeUndefined();
      write(".config/containers/auth.json", "user");
      expect(await named()).toBe("user");
      write("run/containers/auth.json", "session");
      expect(await named()).toBe("session");
      write("ci.json", "ci");
      expect(await named({ REGISTRY_AUTH_FILE: join(folder, "ci.json") })).toBe("ci");
      write(".docker/config.json", "docker");
      expect(await named({ REGISTRY_AUTH_FILE: join(folder, "ci.json") })).toBe("docker");
    });
  });

  it("that can't be read is told, without what is in it", async () => {
    const problem = async () =>
      ((await login("registry.example/sluice").catch((error: unknown) => error)) as SluiceError).describe();
    write("hunter2");
    expect(await problem()).toMatch(/config\.json[\s\S]*docker login/);
    expect(await problem()).not.toContain("hunter2");
    helper("one", "echo hunter2");
    write({ credsStore: "one" });
    expect(await problem()).toContain("docker-credential-one");
    expect(await problem()).not.toContain("hunter2");
  });
});
