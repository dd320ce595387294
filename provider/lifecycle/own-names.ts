/**
 * An engine checks a resource that it is going to replace twice in one process, the second time without its olds.
 * What the first check knew to be ours (a slot, a port, a place among the slots) must not look taken to the second.
 */
const own = new Set<string>();

type Kind =
  | "slot"
  | "publication"
  /** made in this run */
  | "new publication"
  /** id of a pipeline that has its publication in the stack's state */
  | "pipeline"
  | "server"
  | "port"
  | "staging"
  | "slot place"
  /** a pipeline id that has a slot on a server */
  | "slot family"
  /** incarnation of a slot whose gateway takes over from another one */
  | "switch";

export function rememberOwn(kind: Kind, name: string): void {
  own.add(`${kind} ${name}`);
}

export function isOwn(kind: Kind, name: string): boolean {
  return own.has(`${kind} ${name}`);
}

const printed = new Set<string>();

/** A line in the engine's output; each once in a process. */
export function printOnce(line: string): void {
  if (printed.has(line)) return;
  printed.add(line);
  console.log(line);
}
