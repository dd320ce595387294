import { SluiceError } from "../errors";
import type { MalformedBytes } from "./message-bytes";

const names: Record<number, string> = Object.fromEntries(
  Object.entries({
    B: "Begin",
    C: "Commit",
    O: "Origin",
    R: "Relation",
    Y: "Type",
    I: "Insert",
    U: "Update",
    D: "Delete",
    T: "Truncate",
    M: "Message",
    S: "Stream Start",
    E: "Stream Stop",
    c: "Stream Commit",
    A: "Stream Abort",
    b: "Begin Prepare",
    P: "Prepare",
    K: "Commit Prepared",
    r: "Rollback Prepared",
    p: "Stream Prepare",
  }).map(([letter, name]) => [letter.charCodeAt(0), name]),
);
/** two-phase commit: decoded only for a slot that asks for it, which ours don't */
const twoPhase = new Set([..."bPKrp"].map((letter) => letter.charCodeAt(0)));

const twoPhaseRemedy =
  "The slot was made with two_phase: give the gateway a slot that was made by ReplicationSlot, without it.";
const reportRemedy = "Restart the gateway; if it comes again, report it with the server's version.";

/** The message `buffer[start, end)` isn't well-formed, or out of place. */
export function malformedMessage(buffer: Buffer, start: number, end: number, error: MalformedBytes): SluiceError {
  const kind = start < end ? (names[buffer[start]] ?? "unknown") : "empty";
  return new SluiceError(
    "protocol",
    `pgoutput: malformed ${kind} message of ${end - start} bytes: ${error.message} (at byte ${error.at - start})`,
    {
      remedy: `What was read before it is safe, and the slot keeps the rest. ${reportRemedy}`,
      cause: error,
    },
  );
}

/** A message of a transaction that is streamed before its end, though protocol 1 has none. */
export function unaskedStream(kind: number): SluiceError {
  return unasked(kind, "no open transactions were asked for (protocol 1)", reportRemedy);
}

/** A message of another kind than those that are read. */
export function unreadMessage(kind: number): SluiceError {
  if (twoPhase.has(kind)) return unasked(kind, "two-phase commit was not asked for", twoPhaseRemedy);
  return new SluiceError(
    "unsupported",
    `pgoutput: a message of unknown kind ${JSON.stringify(String.fromCharCode(kind))} (byte ${kind})`,
    { remedy: "A newer server or another plug-in? Report it with the server's version." },
  );
}

function unasked(kind: number, why: string, remedy: string): SluiceError {
  return new SluiceError("unsupported", `pgoutput: a ${names[kind]} message came, though ${why}`, { remedy });
}
