import { isObject, isSecret, type PropertyValue } from "./property-values";

/** Shorter secrets would hide half of every message. */
const SECRET_LENGTH_MIN = 4;

/** Knows the secrets an operation has met, and takes them out of whatever is shown. */
export class Redaction {
  readonly #secrets = new Set<string>();

  learnText(secret: string): void {
    if (secret.length >= SECRET_LENGTH_MIN) this.#secrets.add(secret);
  }

  /** Learns every string below a secret mark. */
  learn(value: PropertyValue | undefined, inSecret = false): void {
    if (typeof value === "string") {
      if (inSecret) this.learnText(value);
    } else if (Array.isArray(value)) {
      for (const element of value) this.learn(element, inSecret);
    } else if (isSecret(value)) {
      this.learn(value.value, true);
    } else if (isObject(value)) {
      for (const member of Object.values(value)) this.learn(member, inSecret);
    }
  }

  hide(text: string): string {
    let hidden = text;
    for (const secret of this.#secrets) hidden = hidden.replaceAll(secret, "[secret]");
    return hidden;
  }
}
