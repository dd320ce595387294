/** Base85 as ZeroMQ RFC 32 (Z85) has it: what Delta names deletion vector files and inlines vectors with. */
const alphabet = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#";
const digits = new Map([...alphabet].map((character, value) => [character, value]));

/** Bytes beyond a multiple of four are filled up with zeros. */
export function encodeBase85(bytes: Uint8Array): string {
  const padded = Buffer.alloc(Math.ceil(bytes.length / 4) * 4);
  padded.set(bytes);
  let text = "";
  for (let at = 0; at < padded.length; at += 4) {
    let value = padded.readUInt32BE(at);
    let group = "";
    for (let digit = 0; digit < 5; digit++) {
      group = alphabet[value % 85] + group;
      value = Math.floor(value / 85);
    }
    text += group;
  }
  return text;
}

/** @throws RangeError when the text is no base85 */
export function decodeBase85(text: string): Buffer {
  if (text.length % 5 !== 0) throw new RangeError(`base85 text has ${text.length} characters`);
  const bytes = Buffer.alloc((text.length / 5) * 4);
  for (let group = 0; group * 5 < text.length; group++) {
    let value = 0;
    for (const character of text.slice(group * 5, group * 5 + 5)) {
      const digit = digits.get(character);
      if (digit === undefined) throw new RangeError(`base85 text has the character ${JSON.stringify(character)}`);
      value = value * 85 + digit;
    }
    if (value > 0xffffffff) throw new RangeError("base85 text overflows");
    bytes.writeUInt32BE(value, group * 4);
  }
  return bytes;
}

/** 20 characters for a uuid. */
export function encodeUuid(uuid: string): string {
  return encodeBase85(Buffer.from(uuid.replaceAll("-", ""), "hex"));
}

export function decodeUuid(text: string): string {
  const hex = decodeBase85(text).toString("hex");
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join("-");
}
