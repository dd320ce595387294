import { z } from "zod";

/** Ids that no deployment has: documents of the staging log, which are the gateway's, have these names. */
export const reservedIds = ["gateway", "source"] as const;

/** What every process's configuration has. */
export const processShape = {
  version: z.literal(1),
  /** names this deployment in logs, `application_name`, Delta's `txn.appId` */
  id: z.string().min(1),
  /** where the status document is written, replaced as a whole */
  statusPath: z.string().min(1),
  http: z
    .strictObject({
      /** port of /healthz, /status and /metrics; default 0: any free one, told in the status */
      port: z.int().min(0).max(65535).default(0),
      /** default 127.0.0.1; 0.0.0.0 in a container whose port is published */
      host: z.enum(["127.0.0.1", "0.0.0.0"]).optional(),
    })
    .prefault({}),
};
