import { z } from "zod";
import type { ApiError } from "./api-error";
import type { WorkspaceClient } from "./workspace-client";

const rows = z.number().nullish();

/** An event of a pipeline's log, as far as it tells of updates and flows (Databricks: pipeline event log schema). */
const pipelineEventSchema = z.looseObject({
  id: z.string(),
  timestamp: z.string(),
  event_type: z.string().optional(),
  message: z.string().optional(),
  origin: z
    .looseObject({
      update_id: z.string().optional(),
      /** of the table that a flow writes */
      dataset_name: z.string().optional(),
      flow_name: z.string().optional(),
    })
    .optional(),
  details: z
    .looseObject({
      flow_progress: z
        .looseObject({
          status: z.string().optional(),
          metrics: z
            .looseObject({
              num_output_rows: rows,
              num_upserted_rows: rows,
              num_deleted_rows: rows,
              num_output_bytes: rows,
            })
            .nullish(),
          data_quality: z.looseObject({ dropped_records: rows }).nullish(),
        })
        .optional(),
      update_progress: z.looseObject({ state: z.string().optional() }).optional(),
    })
    .optional(),
  error: z
    .looseObject({
      exceptions: z
        .array(z.looseObject({ class_name: z.string().optional(), message: z.string().optional() }))
        .optional(),
    })
    .optional(),
});
export type PipelineEvent = z.infer<typeof pipelineEventSchema>;

const pageSchema = z.looseObject({
  events: z.array(pipelineEventSchema).default([]),
  next_page_token: z.string().optional(),
});

/** All servers take so many. */
const pageEventsMax = "100";

/** Events of a pipeline page by page, the newest first. A page may be empty. @throws SluiceError of the request */
export async function* pipelineEvents(client: WorkspaceClient, pipelineId: string): AsyncGenerator<PipelineEvent[]> {
  let pageToken: string | undefined;
  do {
    // A token goes with nothing but the size.
    const rest: Record<string, string> =
      pageToken === undefined ? { order_by: "timestamp desc" } : { page_token: pageToken };
    const page: z.infer<typeof pageSchema> = await client.json(
      {
        method: "GET",
        path: `/api/2.0/pipelines/${encodeURIComponent(pipelineId)}/events`,
        query: { max_results: pageEventsMax, ...rest },
        what: `list events of pipeline ${pipelineId}`,
        remedy: (error) => remedyOf(error, pipelineId, "CAN VIEW"),
      },
      (value) => pageSchema.parse(value),
    );
    yield page.events;
    pageToken = page.next_page_token;
  } while (pageToken !== undefined && pageToken !== "");
}

/** Which tables an update brings up to date, by their names in the workspace; `full` ones lose what they have first. */
export interface UpdateSelection {
  tables: readonly string[];
  full: boolean;
}

/** Starts an update, of all tables where none is named. @returns its id; @throws SluiceError `conflict` while another runs */
export async function startPipelineUpdate(
  client: WorkspaceClient,
  pipelineId: string,
  { tables, full }: UpdateSelection,
): Promise<string> {
  const selection =
    tables.length === 0
      ? { full_refresh: full }
      : full
        ? { full_refresh_selection: tables }
        : { refresh_selection: tables };
  const { update_id } = await client.json(
    {
      method: "POST",
      path: `/api/2.0/pipelines/${encodeURIComponent(pipelineId)}/updates`,
      body: { kind: "bytes", bytes: Buffer.from(JSON.stringify(selection)), type: "application/json" },
      what: `start an update of pipeline ${pipelineId}`,
      remedy: (error) =>
        error.statusCode === 409
          ? "An update runs, which may be this one, if its answer was lost: see sluice runs --pipeline; else wait for its end, or stop it: databricks pipelines stop."
          : remedyOf(error, pipelineId, "CAN RUN"),
    },
    (value) => z.looseObject({ update_id: z.string() }).parse(value),
  );
  return update_id;
}

function remedyOf({ statusCode }: ApiError, pipelineId: string, permission: string): string | null {
  if (statusCode === 404)
    return "Give the pipeline's id: declarative.pipelineId of the component, or the end of its page's address.";
  if (statusCode === 403) return `Give this principal ${permission} on pipeline ${pipelineId} (Share, on its page).`;
  return null;
}
