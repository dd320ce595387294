import { randomUUID } from "node:crypto";
import { ApiFailure, type Reply } from "./databricks-reply";

export interface LoggedEvent {
  id: string;
  timestamp: string;
  [field: string]: unknown;
}

/** An update that somebody has started. */
export interface StartedUpdate {
  update_id: string;
  body: Record<string, unknown>;
}

/**
 * Pipelines of a workspace (/api/2.0/pipelines) as published: events in pages, by default the 25 newest, the newest first; a
 * page may have fewer than asked for, also none, though there are more; a token goes with `max_results` only. One update at a
 * time: another is refused while the first runs.
 */
export class DatabricksPipelines {
  private readonly logs = new Map<string, LoggedEvent[]>();
  readonly updates = new Map<string, StartedUpdate[]>();
  private readonly active = new Set<string>();

  /** A pipeline with such events, in any order. */
  add(id: string, events: LoggedEvent[] = []): void {
    this.logs.set(id, events);
    this.updates.set(id, []);
  }

  end(id: string): void {
    this.active.delete(id);
  }

  answer(method: string, id: string, what: string, query: URLSearchParams, content: string): Reply {
    const log = this.logs.get(id);
    if (log === undefined) {
      throw new ApiFailure(404, "RESOURCE_DOES_NOT_EXIST", `The specified pipeline ${id} was not found.`);
    }
    if (method === "GET" && what === "events") return this.page(log, query);
    if (method === "POST" && what === "updates") return this.start(id, JSON.parse(content));
    throw new ApiFailure(405, "BAD_REQUEST", method);
  }

  private page(log: readonly LoggedEvent[], query: URLSearchParams): Reply {
    const size = Number(query.get("max_results") ?? 25);
    if (!Number.isInteger(size) || size < 1 || size > 1_000) {
      throw new ApiFailure(400, "INVALID_PARAMETER_VALUE", "max_results must be between 1 and 1000.");
    }
    const token = query.get("page_token");
    if (token !== null && ["order_by", "filter"].some((name) => query.has(name))) {
      throw new ApiFailure(400, "INVALID_PARAMETER_VALUE", "page_token is mutually exclusive with other fields.");
    }
    const [order, from] = token?.split(":") ?? [query.get("order_by") ?? "timestamp desc", "0"];
    if (order !== "timestamp desc" && order !== "timestamp asc") {
      throw new ApiFailure(400, "INVALID_PARAMETER_VALUE", `order_by ${order}`);
    }
    const ordered = log.toSorted((a, b) => (a.timestamp < b.timestamp ? -1 : a.timestamp > b.timestamp ? 1 : 0));
    if (order === "timestamp desc") ordered.reverse();
    // Every third page is short.
    const at = Number(from);
    const events = ordered.slice(at, at + (at % 3 === 2 ? Math.floor(size / 10) : size));
    const isEmptyOne = token === null && log.length > size;
    const next = isEmptyOne ? 0 : at + events.length;
    const more = isEmptyOne || next < ordered.length ? { next_page_token: `${order}:${next}` } : {};
    return { status: 200, body: { events: isEmptyOne ? [] : events, ...more } };
  }

  private start(id: string, body: Record<string, unknown>): Reply {
    if (this.active.has(id)) {
      throw new ApiFailure(409, "CONFLICT", `An active update already exists for pipeline ${id}.`);
    }
    this.active.add(id);
    const update = { update_id: randomUUID(), body };
    this.updates.get(id)?.push(update);
    return { status: 200, body: { update_id: update.update_id } };
  }
}
