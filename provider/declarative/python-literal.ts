export type PythonValue =
  | string
  | number
  | boolean
  | null
  | readonly PythonValue[]
  | { readonly [key: string]: PythonValue };

/** A value as Python writes it, in ASCII; lists and dictionaries that aren't short on lines of their own. */
export function pythonLiteral(value: PythonValue, indent = ""): string {
  if (value === null) return "None";
  switch (typeof value) {
    case "boolean":
      return value ? "True" : "False";
    case "number":
      return String(value);
    case "string":
      return pythonText(value);
  }
  const inner = `${indent}    `;
  const [open, close, parts] = isList(value)
    ? ["[", "]", value.map((each) => pythonLiteral(each, inner))]
    : ["{", "}", Object.entries(value).map(([key, each]) => `${pythonText(key)}: ${pythonLiteral(each, inner)}`)];
  const line = `${open}${parts.join(", ")}${close}`;
  if (line.length + indent.length <= 100 && !line.includes("\n")) return line;
  return `${open}\n${parts.map((part) => `${inner}${part},\n`).join("")}${indent}${close}`;
}

const isList = (value: PythonValue): value is readonly PythonValue[] => Array.isArray(value);

/** By code points: a pair of surrogates is one character to Python, a surrogate alone stays one. */
function pythonText(value: string): string {
  const escaped = [...value].map((character) => {
    const code = character.codePointAt(0) as number;
    if (character === '"' || character === "\\") return `\\${character}`;
    if (code >= 0x20 && code < 0x7f) return character;
    return code > 0xffff ? `\\U${code.toString(16).padStart(8, "0")}` : `\\u${code.toString(16).padStart(4, "0")}`;
  });
  return `"${escaped.join("")}"`;
}
