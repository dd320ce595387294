// Contract: a host's key is known exactly when a line of known_hosts says so, read as OpenSSH reads them (sshd(8)): names and
// patterns, other ports, names that are hashed (made by ssh-keygen -H), revoked keys. Invariant 6: who has another key is
// told from who has none, and gets nothing either way.
import { describe, expect, it } from "vitest";
import { judgeHostKey, knownKeyTypes } from "../../../provider/deploy/known-hosts";

const ed25519 = "AAAAC3NzaC1lZDI1NTE5AAAAICKKZtSszizaT5z41BFCSZ99beTlvSerOsrnQTiSoAf9";
const line = `ssh-ed25519 ${ed25519}`;
const key = Buffer.from(ed25519, "base64");
const other = Buffer.from("another key");
/** data1.example, 10.0.0.7 and [data2.example]:2222 */
const hashed = `
|1|8IHMkkJz9iFr5V2ZHdl7Ina2y6k=|nIDgsSRANw0PDyWQLDJ4gNLKQsQ= ${line}
|1|ly5IduI+qSeYNAWPAZDVeCrvSJY=|YS21CYghVOjp7NisgSmf8ybgCY4= ${line}
|1|FOGkI3LqQw+IJcaO7s+e4Q7dBII=|ir9jRn/gbSIzXINJigk38f1P9Ek= ${line}
`;

describe("a host's key", () => {
  it.each([
    ["a name", `data1.example ${line}`, "data1.example", 22, "known"],
    ["a name in other letters", `Data1.example ${line}`, "DATA1.example", 22, "known"],
    ["one of several names, with a comment", `data1.example,10.0.0.7 ${line} made by hand`, "10.0.0.7", 22, "known"],
    ["a pattern", `# ours\n*.example,!data9.example ${line}`, "data1.example", 22, "known"],
    ["a pattern's exception", `*.example,!data9.example ${line}`, "data9.example", 22, "unknown"],
    ["a pattern, not an expression", `data.+ ${line}`, "data11", 22, "unknown"],
    ["another port", `[data1.example]:2222 ${line}`, "data1.example", 2222, "known"],
    ["another port than the file's", `data1.example ${line}`, "data1.example", 2222, "unknown"],
    ["a hashed name", hashed, "data1.example", 22, "known"],
    ["a hashed address", hashed, "10.0.0.7", 22, "known"],
    ["a hashed name with its port", hashed, "data2.example", 2222, "known"],
    ["a hashed name without its port", hashed, "data2.example", 22, "unknown"],
    ["nothing", "", "data1.example", 22, "unknown"],
    ["a line cut short", "data1.example ssh-ed25519", "data1.example", 22, "unknown"],
    ["an authority's line", `@cert-authority * ${line}`, "data1.example", 22, "unknown"],
    ["a revoked key, whoever else has it", `data1.example ${line}\n@revoked * ${line}`, "data1.example", 22, "revoked"],
  ] as const)("by %s", (_, text, host, port, verdict) => {
    expect(judgeHostKey(text, host, port, key)).toBe(verdict);
    expect(judgeHostKey(text, host, port, other)).toBe(
      verdict === "known" || (verdict === "revoked" && text.startsWith("data1")) ? "changed" : "unknown",
    );
  });

  it("is asked for by the types that are known, as ssh-rsa by its newer signatures", () => {
    const text = `data1.example ssh-rsa ${ed25519}\ndata1.example ${line}\nother ecdsa-sha2-nistp256 ${ed25519}`;
    expect(knownKeyTypes(text, "data1.example", 22)).toEqual(["rsa-sha2-512", "rsa-sha2-256", "ssh-ed25519"]);
    expect(knownKeyTypes(text, "nobody", 22)).toEqual([]);
  });
});
