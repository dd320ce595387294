import { z } from "zod";
import { tableDescriptionSchema } from "./table-description";

/** Prefix of the logical messages that the event triggers of `captureDdl` write, in the transaction of the DDL. */
export const ddlMessagePrefix = "sluice.ddl";

const common = { publication: z.string() };

/** Content of such a message, as JSON in UTF-8. */
const ddlMessageSchema = z.discriminatedUnion("kind", [
  z.object({
    ...common,
    kind: z.literal("changed"),
    /** the statement is an ALTER TABLE without USING: where it wrote rows anew, it kept their values */
    plain: z.boolean(),
    /** the table as it is from here on */
    table: tableDescriptionSchema,
  }),
  /** Values look different from here on, or the trigger could not tell what has changed; `tableId` null: of any table. */
  z.object({ ...common, kind: z.literal("unknown"), tableId: z.string().nullable(), reason: z.string() }),
]);
export type DdlMessage = z.infer<typeof ddlMessageSchema>;

/** null when it is none of ours: anybody can write messages. */
export function readDdlMessage(content: Buffer): DdlMessage | null {
  try {
    return ddlMessageSchema.parse(JSON.parse(content.toString("utf8")));
  } catch {
    return null;
  }
}
