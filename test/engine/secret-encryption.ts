import { createCipheriv, createDecipheriv, pbkdf2, randomBytes } from "node:crypto";
import { promisify } from "node:util";

const deriveKey = promisify(pbkdf2);
const ITERATIONS = 1_000_000;
const TAG_BYTES = 16;
const keys = new Map<string, Promise<Buffer>>();

/**
 * Encrypts values as the CLI's passphrase secrets provider does: AES-256-GCM under a key derived by PBKDF2, written
 * `v1:<nonce>:<ciphertext and tag>`.
 */
export class SecretEncryption {
  readonly #key: Buffer;
  /** What the checkpoint keeps: the salt, and a known text by which a wrong passphrase is found. */
  readonly salt: string;

  private constructor(key: Buffer, salt: string) {
    this.#key = key;
    this.salt = salt;
  }

  static async create(passphrase: string): Promise<SecretEncryption> {
    const salt = randomBytes(8);
    const key = await keyOf(passphrase, salt);
    return new SecretEncryption(key, `v1:${salt.toString("base64")}:${encrypt(key, "pulumi")}`);
  }

  /** Fails where the passphrase is not that of the salt. */
  static async open(passphrase: string, salt: string): Promise<SecretEncryption> {
    const [, text, ...check] = salt.split(":");
    const key = await keyOf(passphrase, Buffer.from(text, "base64"));
    try {
      decrypt(key, check.join(":"));
    } catch {
      throw new Error(
        "the state's secrets can't be read: set PULUMI_CONFIG_PASSPHRASE to the passphrase it was written with",
      );
    }
    return new SecretEncryption(key, salt);
  }

  encrypt(plaintext: string): string {
    return encrypt(this.#key, plaintext);
  }

  decrypt(ciphertext: string): string {
    return decrypt(this.#key, ciphertext);
  }
}

/** Deriving takes a third of a second, so each key is derived once a process. */
function keyOf(passphrase: string, salt: Buffer): Promise<Buffer> {
  const name = `${salt.toString("base64")}:${passphrase}`;
  const key = keys.get(name) ?? deriveKey(passphrase, salt, ITERATIONS, 32, "sha256");
  keys.set(name, key);
  return key;
}

function encrypt(key: Buffer, plaintext: string): string {
  const nonce = randomBytes(12);
  const cipher = createCipheriv("aes-256-gcm", key, nonce);
  const sealed = Buffer.concat([cipher.update(plaintext, "utf8"), cipher.final(), cipher.getAuthTag()]);
  return `v1:${nonce.toString("base64")}:${sealed.toString("base64")}`;
}

function decrypt(key: Buffer, ciphertext: string): string {
  const [, nonce, text] = ciphertext.split(":");
  const sealed = Buffer.from(text, "base64");
  const decipher = createDecipheriv("aes-256-gcm", key, Buffer.from(nonce, "base64"));
  decipher.setAuthTag(sealed.subarray(sealed.length - TAG_BYTES));
  return decipher.update(sealed.subarray(0, sealed.length - TAG_BYTES), undefined, "utf8") + decipher.final("utf8");
}
