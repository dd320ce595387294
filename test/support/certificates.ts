import { generateKeyPairSync, type KeyObject, randomBytes, sign } from "node:crypto";

/** An X.509 certificate as PEM, with its key; made by hand, as Node makes none and machines may lack openssl. */
export interface Certificate {
  subject: string;
  certificate: string;
  key: string;
  privateKey: KeyObject;
}

export interface CertificateOptions {
  /** its common name */
  subject: string;
  /** default: itself */
  issuer?: Certificate;
  isAuthority?: boolean;
  /** DNS names of the subject alternative name */
  names?: string[];
  /** days from now until it expires; default 1 */
  days?: number;
}

/** Distinguished encoding rules (X.690): tag, length, content. */
function der(tag: number, ...contents: Buffer[]): Buffer {
  const content = Buffer.concat(contents);
  const { length } = content;
  if (length < 128) return Buffer.concat([Buffer.from([tag, length]), content]);
  const digits = length < 256 ? [length] : [length >> 8, length & 255];
  return Buffer.concat([Buffer.from([tag, 0x80 | digits.length, ...digits]), content]);
}

const sequence = (...parts: Buffer[]) => der(0x30, ...parts);
const set = (...parts: Buffer[]) => der(0x31, ...parts);
const oid = (hexadecimal: string) => der(0x06, Buffer.from(hexadecimal, "hex"));
const octets = (content: Buffer) => der(0x04, content);
const bits = (content: Buffer) => der(0x03, Buffer.from([0]), content);
const yes = der(0x01, Buffer.from([0xff]));

const ecdsaWithSha256 = sequence(oid("2a8648ce3d040302"));
const nameOf = (text: string) => sequence(set(sequence(oid("550403"), der(0x0c, Buffer.from(text)))));
const extension = (id: string, ...rest: Buffer[]) => sequence(oid(id), ...rest);

function time(ms: number): Buffer {
  const digits = new Date(ms).toISOString().replaceAll(/[-:T]|\..*/g, "");
  return der(0x18, Buffer.from(`${digits}Z`));
}

/** Signed by its issuer with ECDSA on P-256 (RFC 5280, section 4.1). */
export function makeCertificate(options: CertificateOptions): Certificate {
  const { subject, issuer, isAuthority = false, names = [], days = 1 } = options;
  const { privateKey, publicKey } = generateKeyPairSync("ec", { namedCurve: "prime256v1" });
  const now = Date.now();
  const dayMs = 86_400_000;
  const alternatives = sequence(...names.map((name) => der(0x82, Buffer.from(name))));
  const body = sequence(
    der(0xa0, der(0x02, Buffer.from([2]))),
    der(0x02, Buffer.from([1]), randomBytes(8)),
    ecdsaWithSha256,
    nameOf(issuer?.subject ?? subject),
    sequence(time(now - 10 * dayMs), time(now + days * dayMs)),
    nameOf(subject),
    publicKey.export({ type: "spki", format: "der" }),
    der(
      0xa3,
      sequence(
        extension("551d13", yes, octets(sequence(...(isAuthority ? [yes] : [])))),
        ...(names.length === 0 ? [] : [extension("551d11", octets(alternatives))]),
      ),
    ),
  );
  const signature = sign("sha256", body, issuer?.privateKey ?? privateKey);
  const lines =
    sequence(body, ecdsaWithSha256, bits(signature))
      .toString("base64")
      .match(/.{1,64}/g) ?? [];
  return {
    subject,
    certificate: `-----BEGIN CERTIFICATE-----\n${lines.join("\n")}\n-----END CERTIFICATE-----\n`,
    key: privateKey.export({ type: "pkcs8", format: "pem" }).toString(),
    privateKey,
  };
}
