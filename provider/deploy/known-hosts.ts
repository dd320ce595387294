import { createHmac, timingSafeEqual } from "node:crypto";

/** What a known_hosts file (sshd(8), SSH_KNOWN_HOSTS FILE FORMAT) says of a host's key. */
export type HostKeyVerdict = "known" | "unknown" | "changed" | "revoked";

interface Entry {
  isRevoked: boolean;
  type: string;
  key: Buffer;
}

/** Pure: the lines that are about this host; those of certificate authorities aren't, as ssh2 knows no host certificates. */
function entriesFor(text: string, host: string, port: number): Entry[] {
  const name = port === 22 ? host : `[${host}]:${port}`;
  const entries: Entry[] = [];
  for (const line of text.split("\n")) {
    const words = line.trim().split(/\s+/);
    if (words[0] === "" || words[0].startsWith("#")) continue;
    const marker = words[0].startsWith("@") ? words.shift() : undefined;
    const [patterns, type, key] = words;
    if (key === undefined || marker === "@cert-authority" || !matches(patterns, name.toLowerCase())) continue;
    entries.push({ isRevoked: marker === "@revoked", type, key: Buffer.from(key, "base64") });
  }
  return entries;
}

function matches(patterns: string, name: string): boolean {
  if (patterns.startsWith("|1|")) {
    const [, , salt, hash] = patterns.split("|");
    const wanted = Buffer.from(hash ?? "", "base64");
    const found = createHmac("sha1", Buffer.from(salt, "base64")).update(name).digest();
    return wanted.length === found.length && timingSafeEqual(wanted, found);
  }
  let isMatch = false;
  for (const pattern of patterns.toLowerCase().split(",")) {
    const isNegated = pattern.startsWith("!");
    if (!wildcard(isNegated ? pattern.slice(1) : pattern).test(name)) continue;
    if (isNegated) return false;
    isMatch = true;
  }
  return isMatch;
}

/** `*` is any text, `?` any character. */
function wildcard(pattern: string): RegExp {
  const escaped = pattern.replace(/[.+^${}()|[\]\\]/g, "\\$&");
  return new RegExp(`^${escaped.replaceAll("*", ".*").replaceAll("?", ".")}$`);
}

/** Pure. `key` is the server's, as it sends it. */
export function judgeHostKey(text: string, host: string, port: number, key: Buffer): HostKeyVerdict {
  const entries = entriesFor(text, host, port);
  const isSame = (entry: Entry) => entry.key.equals(key);
  if (entries.some((entry) => entry.isRevoked && isSame(entry))) return "revoked";
  const valid = entries.filter(({ isRevoked }) => !isRevoked);
  if (valid.some(isSame)) return "known";
  return valid.length > 0 ? "changed" : "unknown";
}

/** Pure: the types of keys by which the host is known, to be asked for first, as OpenSSH does; none where it isn't known. */
export function knownKeyTypes(text: string, host: string, port: number): string[] {
  const types = entriesFor(text, host, port).flatMap(({ isRevoked, type }) => {
    if (isRevoked) return [];
    return type === "ssh-rsa" ? ["rsa-sha2-512", "rsa-sha2-256"] : [type];
  });
  return [...new Set(types)];
}
