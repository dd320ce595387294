import { SluiceError } from "../errors";
import { formatLsn, type Lsn } from "../postgres/lsn";
import type { ServerIdentity, SourceIdentity, TimelineSwitch } from "../postgres/source-identity";

/** How the server that answers relates to the one that staging follows. */
export type Lineage =
  /** nothing is known yet */
  | { kind: "first" }
  | { kind: "same" }
  /** it was promoted, or follows one that was, where all that is staged was in its WAL */
  | { kind: "promoted"; fromTimeline: number; switchLsn: Lsn; isSameServer: boolean }
  /** it was promoted without some of what is staged, or descends from elsewhere */
  | { kind: "diverged"; switchLsn: Lsn | null }
  /** it is on a timeline that has been left since */
  | { kind: "outdated" }
  | { kind: "other-cluster" };

/**
 * Pure. After a failover LSNs beyond the switch mean something else: what is staged beyond it never was in the new
 * primary, and going on from there would skip what it wrote instead. Not so when the same server process went on: a
 * standby decodes through its own promotion, and that of another which it follows, so all that is staged is of its history.
 * @param stagedLsn null in an empty staging
 */
export function lineageOf(
  known: (SourceIdentity & { startedAt?: string }) | null,
  found: ServerIdentity,
  history: readonly TimelineSwitch[],
  stagedLsn: Lsn | null,
): Lineage {
  if (known === null) return { kind: "first" };
  if (known.systemIdentifier !== found.systemIdentifier) return { kind: "other-cluster" };
  if (known.timeline === found.timeline) return { kind: "same" };
  if (known.timeline > found.timeline) return { kind: "outdated" };
  const left = history.find(({ timeline }) => timeline === known.timeline);
  if (left === undefined) return { kind: "diverged", switchLsn: null };
  const { switchLsn } = left;
  const isSameServer = known.startedAt === found.startedAt;
  if (!isSameServer && stagedLsn !== null && stagedLsn > switchLsn) return { kind: "diverged", switchLsn };
  return { kind: "promoted", fromTimeline: known.timeline, switchLsn, isSameServer };
}

/**
 * What stands against streaming from such a server; null when nothing does.
 * `slot-lost` is a gap, which the policy may pass with new snapshots; another cluster is never taken.
 */
export function lineageProblem(
  lineage: Lineage,
  known: SourceIdentity | null,
  found: SourceIdentity,
  stagedLsn: Lsn | null,
): SluiceError | null {
  switch (lineage.kind) {
    case "first":
    case "same":
    case "promoted":
      return null;
    case "outdated":
      return new SluiceError(
        "unreachable",
        `the server is on timeline ${found.timeline}, but timeline ${known?.timeline} has been followed since: it is a former primary`,
        { remedy: "Stop it, or make it a standby of the promoted server; point host or failoverHosts to that one." },
      );
    case "other-cluster":
      return new SluiceError(
        "config",
        `the server belongs to another cluster (system identifier ${found.systemIdentifier}) than staging follows (${known?.systemIdentifier})`,
        {
          remedy:
            "Correct host and port; or, to go on with this cluster (after pg_upgrade or a restore), replace the ReplicationSlot, which takes new snapshots of all tables.",
        },
      );
    case "diverged":
      return new SluiceError(
        "slot-lost",
        lineage.switchLsn === null
          ? `the promoted server's history (timeline ${found.timeline}) doesn't go through timeline ${known?.timeline}, which is staged`
          : `the promoted server left timeline ${known?.timeline} at ${formatLsn(lineage.switchLsn)}, before what is staged (${stagedLsn === null ? "nothing" : formatLsn(stagedLsn)}): it never had the last transactions that the destination has`,
        {
          remedy:
            "Source and destination differ: replace the ReplicationSlot, or set the gateway's onSlotLost to \"resnapshot\". So that it doesn't happen again, set synchronized_standby_slots on the primary to the standby's physical slot.",
        },
      );
  }
}
