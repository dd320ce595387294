import type { z } from "zod";

type Issue = z.core.$ZodIssue;

const separator = "\n  remedy: ";

/**
 * Pure: what is wrong with an input, with what to do; never a value that was given (invariant 6).
 * @param path the input's, as it is told
 * @param isMissing nothing was given there
 */
export function withRemedy(issue: Issue, path: string, isMissing: boolean): string {
  if (issue.message.includes(separator)) return issue.message;
  return `${issue.message}${separator}${remedyOf(issue, path, isMissing)}`;
}

function remedyOf(issue: Issue, path: string, isMissing: boolean): string {
  if (isMissing) return `Give ${path}.`;
  switch (issue.code) {
    case "invalid_type":
      return `Give ${path} as ${article(issue.expected)}${issue.expected}.`;
    case "invalid_value":
      return `Use one of: ${issue.values.map((value) => JSON.stringify(value)).join(", ")}.`;
    case "too_small":
      return `Use ${limit(issue.origin, issue.minimum, "at least", "or more")}.`;
    case "too_big":
      return `Use ${limit(issue.origin, issue.maximum, "at most", "or fewer")}.`;
    case "unrecognized_keys":
      return `Remove ${issue.keys.join(", ")} from ${path}, or correct the spelling.`;
    default:
      return `Correct ${path}, or leave it out where it is optional.`;
  }
}

const article = (noun: string) => (/^[aeio]/.test(noun) ? "an " : "a ");

function limit(origin: string, bound: number | bigint, value: string, count: string): string {
  switch (origin) {
    case "string":
      return `${bound} ${count} characters`;
    case "array":
    case "set":
      return `${bound} ${count} elements`;
    default:
      return `a value of ${value} ${bound}`;
  }
}
