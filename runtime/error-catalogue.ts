import type { ErrorKind } from "./errors";

interface KindOfError {
  meaning: string;
  /** in general: an error has that of its own case, but for `internal` */
  remedy: string;
}

/** What each kind means, and what to do by default; docs/errors.md is this as a page. */
export const errorCatalogue: Record<ErrorKind, KindOfError> = {
  config: {
    meaning: "An input, an option of a command or a configuration file is wrong.",
    remedy: "Correct what the message names; a configuration file is written anew by pulumi up.",
  },
  authentication: {
    meaning: "The source refuses user, password or client certificate.",
    remedy: "Check user, password and certificate, and that pg_hba.conf admits this host, user and database.",
  },
  tls: {
    meaning: "One side's certificate doesn't hold for the other, or one of them has no TLS.",
    remedy: "Check sslMode, sslRootCertFile and sslServerName against the server's certificate.",
  },
  unreachable: {
    meaning: "The source doesn't answer, or has ended the connection. A running gateway tries again by itself.",
    remedy: "If it lasts, check host, port and firewall, and that PostgreSQL runs.",
  },
  permission: {
    meaning: "The role lacks a privilege.",
    remedy: "Grant the privilege named in the message to the role; sluice grants prints what it needs.",
  },
  "source-setting": {
    meaning: "A setting of the server forbids logical replication, or leaves no room for it.",
    remedy: "Change the setting that the message names; most need a restart of PostgreSQL.",
  },
  "missing-object": {
    meaning: "A table, slot, publication or database doesn't exist.",
    remedy: "Create what the message names, or correct its name; then pulumi refresh and pulumi up.",
  },
  "name-taken": {
    meaning: "Something of that name exists and isn't this stack's; it is never touched.",
    remedy: "Choose another name, or remove what has it if nobody uses it.",
  },
  "slot-in-use": {
    meaning: "Another session reads the slot. A running gateway tries again by itself.",
    remedy: "Stop the other consumer: active_pid in pg_replication_slots tells which.",
  },
  "slot-lost": {
    meaning: "The slot is gone, invalidated, or ahead of what is staged: changes are lost.",
    remedy: 'Run pulumi refresh, then pulumi up; or set onSlotLost: "resnapshot", which copies every table again.',
  },
  timeout: {
    meaning: "A wait has passed its deadline. A running process tries again by itself.",
    remedy: "If it comes again, look for what blocks it (pg_stat_activity, pg_locks), or raise the deadline.",
  },
  staging: {
    meaning: "Staging can't be read or written.",
    remedy:
      "Check the staging folder: room, permissions, and that nobody has removed files. If files are lost, replace the Gateway: pulumi up --replace <its URN>.",
  },
  destination: {
    meaning: "A table of the destination can't be read or written.",
    remedy: "Check the destination folder; a damaged table is healed by sluice resync.",
  },
  conflict: {
    meaning: "Another writer, or a newer state of the table, was there first. It is tried again by itself.",
    remedy: "If it comes again, look for who else writes.",
  },
  "port-in-use": {
    meaning: "A loopback port is taken.",
    remedy: "Choose another httpPort, or leave it out to take any free one.",
  },
  process: {
    meaning: "A process of ours doesn't start, stop or answer.",
    remedy: "Look at its log beside its configuration file, then run the same again.",
  },
  protocol: {
    meaning: "The server sent bytes that its protocol doesn't allow.",
    remedy: "Restart the process; if it comes again, look for what changes bytes on the way to the server.",
  },
  unrepresentable: {
    meaning: 'A value can\'t be held by its destination type, where unrepresentable is "stop" or it is in a key.',
    remedy: "Correct the value at the source, or change types; the table is copied again by itself.",
  },
  unsupported: {
    meaning: "A table, type or feature can't be carried.",
    remedy: "Leave it out, or change what the message names.",
  },
  internal: {
    meaning: "A defect of Sluice.",
    remedy: "Run the same again; if it comes again, report it with the log.",
  },
};
