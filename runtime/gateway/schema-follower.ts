import { setTimeout as delay } from "node:timers/promises";
import type { Client } from "pg";
import { readMoneyDigits, valueTypeOid } from "../change/catalog";
import {
  type ChangePolicy,
  decideByDescription,
  decideByRelation,
  type FillValue,
  type NewSchema,
  type SchemaDecision,
} from "../change/schema-change";
import { TableSpool } from "../change/spool";
import type { TableSchema } from "../change/table-schema";
import { moneyOid } from "../change/types";
import type { GatewayConfig } from "../config";
import { failpoint } from "../failpoint";
import { log } from "../operate/log";
import { ddlMessagePrefix, readDdlMessage } from "../postgres/ddl-message";
import { type Lsn, lsnZero } from "../postgres/lsn";
import type { Relation } from "../postgres/pgoutput-handler";
import { readTableDescriptions, readTypeDescriptions, type TableDescription } from "../postgres/table-description";
import type { ObjectStore } from "../staging/object-store";
import type { StagedFile } from "../staging/staged-commit";
import { storeTableSchema } from "../staging/table-schema-store";
import type { Capture } from "./capture";
import type { DescribedIn } from "./capture-events";
import type { CapturedTable } from "./captured-table";
import type { CatalogSession } from "./catalog-session";
import { isVisible, parseSnapshot } from "./snapshot-visibility";
import type { Stager } from "./stager";
import { readReplayedLsn } from "./standby-snapshot";

export interface FollowerContext {
  config: GatewayConfig;
  capture: Capture;
  stager: Stager;
  store: ObjectStore;
  catalog: CatalogSession;
  /** Holds the stream until the work is done. */
  hold(work: (isCurrent: () => boolean) => Promise<void>): void;
}

/** A decision whose files are durable: it can be carried out at once. */
export type PreparedChange =
  | { kind: "same" }
  | { kind: "evolve"; schema: TableSchema; fill: StagedFile | undefined; changes: string[] }
  | { kind: "pending"; reason: string };

/** Follows the schemas of captured tables at the place in the stream where they change. */
export class SchemaFollower {
  private moneyDigits: number | null = null;
  /** streamed transactions whose commit may be carried out */
  private readonly verifiedXids = new Set<number>();

  constructor(private readonly context: FollowerContext) {}

  /** A new connection: open transactions are sent again. */
  restart(): void {
    this.verifiedXids.clear();
  }

  /** @param oids of the types that are looked at */
  async policy(oids: readonly number[], isWanted: () => boolean): Promise<ChangePolicy> {
    const { types, schemaChanges } = this.context.config;
    if (oids.includes(moneyOid)) {
      this.moneyDigits ??= await this.context.catalog.read("reading the digits of money", readMoneyDigits, isWanted);
    }
    const followWidening = schemaChanges.onRewrittenWidening === "follow";
    return { types, moneyDigits: this.moneyDigits ?? 2, followWidening };
  }

  /** A RELATION message: the catalog tells which columns these are, and whether they are those of before. */
  relation(table: CapturedTable, relation: Relation, described: DescribedIn): void {
    const isOpen = described.commitLsn === null;
    this.context.hold(async (isCurrent) => {
      const known = schemaOf(table);
      if (known === null) return;
      const decision = await this.decide({ table, relation, known }, described, isCurrent);
      // What an open transaction has changed itself the catalog doesn't show: that is decided at its commit.
      if (isOpen && decision.kind === "pending") return;
      const change = await this.prepare(table, decision);
      if (isCurrent() && schemaOf(table) === known) this.carryOut(table, change, "relation");
      else this.discard(change);
    });
  }

  /**
   * Whether the commit of a transaction that was streamed before its end may be carried out. If not, the stream is held
   * until the catalog, which now shows what the transaction has changed, has told that the columns of its rows are those
   * that they were taken for.
   */
  isVerified(xid: number, commitLsn: Lsn): boolean {
    if (this.verifiedXids.delete(xid)) return true;
    const { capture, hold } = this.context;
    const described = capture.streamed.describedTables(xid);
    if (described.length === 0) return true;
    hold(async (isCurrent) => {
      for (const { table, relation } of described) {
        const known = schemaOf(table);
        if (known === null) continue;
        const decision = await this.decide({ table, relation, known }, { xid, commitLsn }, isCurrent);
        if (!isCurrent()) return;
        if (decision.kind !== "same") capture.streamed.distrust(xid, table);
      }
      this.verifiedXids.add(xid);
    });
    return false;
  }

  /** @param by the transaction, which the catalog must show if it has committed */
  private async decide(
    described: { table: CapturedTable; relation: Relation; known: TableSchema },
    by: DescribedIn,
    isWanted: () => boolean,
  ): Promise<SchemaDecision> {
    const { table, relation, known } = described;
    const { xid, commitLsn } = by;
    const seen = commitLsn === null ? null : { xid, commitLsn };
    const { catalog, config } = this.context;
    const found = await catalog.read(
      `reading the columns of ${table.schema}.${table.name}`,
      async (client) => ({
        description: await readDescription(client, config.publication, table.tableId, seen, isWanted),
        types: await readTypeDescriptions(client, relation.columns),
      }),
      isWanted,
    );
    if (found.description === null) return { kind: "pending", reason: "it doesn't exist any more" };
    const { description, types } = found;
    const oids = relation.columns.map((column, index) => valueTypeOid({ ...column, ...types[index] }));
    const policy = await this.policy(oids, isWanted);
    const isWhole = seen !== null && !this.context.capture.streamed.isOpen(xid);
    return decideByRelation(known, relation, description, types, { xid, isWhole }, policy);
  }

  /** What an event trigger of `captureDdl` says. @param takes whether changes of a table are captured here */
  message(prefix: string, content: Buffer, takes: (table: CapturedTable) => boolean): void {
    if (prefix !== ddlMessagePrefix) return;
    const message = readDdlMessage(content);
    const { capture, config } = this.context;
    if (message === null) {
      log("warning", "message-ignored", { prefix, reason: "it isn't one of ours" });
      return;
    }
    if (message.publication !== config.publication) return;
    if (message.kind === "changed" && message.table.ddlCapture === null) {
      log("warning", "message-ignored", {
        prefix,
        reason: "no event triggers of the publication could have written it",
      });
      return;
    }
    switch (message.kind) {
      case "changed": {
        const table = capture.tables.get(Number(message.table.tableId));
        if (table !== undefined && takes(table)) this.changed(table, message.table, message.plain);
        return;
      }
      case "unknown":
        for (const table of capture.tables.values()) {
          if (message.tableId !== null && message.tableId !== table.tableId) continue;
          if (takes(table)) this.carryOut(table, { kind: "pending", reason: message.reason }, "message");
        }
        return;
    }
  }

  private changed(table: CapturedTable, description: TableDescription, plain: boolean): void {
    this.context.hold(async (isCurrent) => {
      const known = schemaOf(table);
      if (known === null) return;
      const policy = await this.policy(typesOf(description), isCurrent);
      const decision = decideByDescription(known, description, { ...policy, followWidening: false }, plain);
      const change = await this.prepare(table, decision);
      if (isCurrent() && schemaOf(table) === known) this.carryOut(table, change, "message");
      else this.discard(change);
    });
  }

  /** Makes durable what the change needs. */
  async prepare(table: CapturedTable, decision: SchemaDecision): Promise<PreparedChange> {
    if (decision.kind !== "evolve") return decision;
    const { schema, fill, changes } = decision;
    const [stored, file] = await Promise.all([
      storeTableSchema(this.context.store, schema, table.schemaId),
      this.writeFill(schema, fill),
    ]);
    failpoint("gateway.after-schema-file");
    return { kind: "evolve", schema: stored, fill: file, changes };
  }

  /** To be called at the very place in the stream from which on it holds. */
  carryOut(table: CapturedTable, change: PreparedChange, source: "relation" | "message" | "catalog"): void {
    const name = `${table.schema}.${table.name}`;
    switch (change.kind) {
      case "same":
        return;
      case "evolve":
        this.context.capture.changeSchema(table, change.schema, change.fill);
        if (change.changes.length > 0) {
          log("info", "schema-followed", { table: name, changes: change.changes, source });
        }
        return;
      case "pending":
        log("warning", "table-copied-again", { table: name, reason: change.reason, source });
        this.context.capture.sendBack(table, change.reason);
        return;
    }
  }

  discard(change: PreparedChange): void {
    if (change.kind === "evolve" && change.fill !== undefined) this.context.stager.discardFile(change.fill);
  }

  private async writeFill(schema: NewSchema, fill: FillValue[]): Promise<StagedFile | undefined> {
    if (fill.length === 0) return undefined;
    const text = new Map(fill.map((value) => [value.attributeNumber, value.text]));
    const columns = schema.columns.filter((column) => text.has(column.attributeNumber));
    const spool = new TableSpool({ ...schema, schemaId: 1, columns }, "snapshot");
    spool.appendTexts(columns.map((column) => text.get(column.attributeNumber) ?? null));
    const sealed = spool.seal();
    return sealed === null ? undefined : (await this.context.stager.writeRows(sealed)).file;
  }
}

/**
 * The table as a snapshot shows it in which the transaction is over: its commit can be streamed a moment before its
 * session says so to others. Null when there is no such table.
 */
async function readDescription(
  client: Client,
  publication: string,
  tableId: string,
  seen: { xid: number; commitLsn: Lsn } | null,
  isWanted: () => boolean,
): Promise<TableDescription | null> {
  for (let waitMs = 1; ; waitMs = Math.min(waitMs * 2, 200)) {
    // In recovery a snapshot doesn't tell by ids what it sees.
    const replayedLsn = seen === null ? null : await readReplayedLsn(client);
    const { tables, snapshot } = await readTableDescriptions(client, publication, [tableId]);
    const isSeen =
      seen === null ||
      (replayedLsn === null ? isVisible(parseSnapshot(snapshot, lsnZero), seen.xid) : replayedLsn > seen.commitLsn);
    if (isSeen || !isWanted()) return tables[0] ?? null;
    await delay(waitMs);
  }
}

/** Types of the values of the table's columns, see `valueTypeOid`. */
export function typesOf(table: TableDescription): number[] {
  return table.attributes.map(valueTypeOid);
}

/** The schema of a captured table's rows; null when its changes are dropped. */
export function schemaOf(table: CapturedTable): TableSchema | null {
  return table.capture.kind === "capturing" ? table.capture.schema : null;
}
