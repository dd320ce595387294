import type { Client } from "pg";
import { SluiceError } from "../../runtime/errors";
import { ddlMessagePrefix } from "../../runtime/postgres/ddl-message";
import { quoteIdentifier, quoteLiteral } from "../../runtime/postgres/identifier";
import { pinnedSessionSettings } from "../../runtime/postgres/session-settings";
import { ddlCaptureNames, describeTablesSql } from "../../runtime/postgres/table-description";

/**
 * Event triggers that announce every change of a published table in the stream, at its place (PostgreSQL documentation,
 * chapter 40). They never fail the statement that they see: what goes wrong is a WARNING, and a message by which the
 * gateway copies the table again. They run with the rights of whoever runs the statement, under a search_path of
 * their own, and also where session_replication_role is replica.
 * @param bySchema the publication has schemas, from PostgreSQL 15 on
 */
export function installDdlCapture(publication: string, mark: string, bySchema = false): string[] {
  const names = ddlCaptureNames(publication);
  const schema = quoteIdentifier(names.schema);
  const announce = `${schema}.announce()`;
  return [
    `CREATE SCHEMA ${schema}`,
    `COMMENT ON SCHEMA ${schema} IS ${quoteLiteral(mark)}`,
    createFunction(announce, publication, bySchema),
    `REVOKE ALL ON FUNCTION ${announce} FROM PUBLIC`,
    `CREATE EVENT TRIGGER ${quoteIdentifier(names.end)} ON ddl_command_end
       WHEN TAG IN (${changingTags.map(quoteLiteral).join(", ")}) EXECUTE FUNCTION ${announce}`,
    `CREATE EVENT TRIGGER ${quoteIdentifier(names.drop)} ON sql_drop EXECUTE FUNCTION ${announce}`,
    `ALTER EVENT TRIGGER ${quoteIdentifier(names.end)} ENABLE ALWAYS`,
    `ALTER EVENT TRIGGER ${quoteIdentifier(names.drop)} ENABLE ALWAYS`,
  ];
}

/** The function goes with its schema only by name: nothing else that somebody put there is dropped. */
export function removeDdlCapture(publication: string): string[] {
  const names = ddlCaptureNames(publication);
  const schema = quoteIdentifier(names.schema);
  return [
    `DROP EVENT TRIGGER IF EXISTS ${quoteIdentifier(names.end)}`,
    `DROP EVENT TRIGGER IF EXISTS ${quoteIdentifier(names.drop)}`,
    `DROP FUNCTION IF EXISTS ${schema}.announce()`,
    `DROP SCHEMA IF EXISTS ${schema}`,
  ];
}

/** Statements after which a table may be another; ALTER INDEX and the like name tables too. */
const changingTags = [
  "ALTER TABLE",
  "ALTER INDEX",
  "ALTER VIEW",
  "ALTER MATERIALIZED VIEW",
  "ALTER SEQUENCE",
  "ALTER FOREIGN TABLE",
  "ALTER SCHEMA",
  "ALTER TYPE",
  "CREATE INDEX",
];

/** By which the texts of a default are those of the stream, and the function's own are read as they are written. */
const textSettings = [
  "datestyle",
  "intervalstyle",
  "TimeZone",
  "extra_float_digits",
  "bytea_output",
  "lc_monetary",
  "quote_all_identifiers",
  "standard_conforming_strings",
];

function createFunction(name: string, publication: string, bySchema: boolean): string {
  const names = ddlCaptureNames(publication);
  const settings = textSettings.map((setting) => `SET ${setting} = ${quoteLiteral(pinnedSessionSettings[setting])}`);
  const literal = quoteLiteral(publication);
  const triggers = `ARRAY[${quoteLiteral(names.end)}, ${quoteLiteral(names.drop)}]`;
  const body = `
DECLARE
  changed oid[] := '{}';
  looks_different oid[] := '{}';
  stack text;
  plain boolean;
  description json;
  relation oid;
BEGIN
  -- a statement that was sent as it is, not by a function whose text isn't seen here
  GET DIAGNOSTICS stack = PG_CONTEXT;
  plain := current_query() !~* '\\m(using|extension)\\M' AND strpos(stack, chr(10)) = 0;
  IF tg_event = 'sql_drop' THEN
    -- columns that went with their type, and tables whose identity's index went
    SELECT coalesce(array_agg(DISTINCT o.id), '{}') INTO changed FROM (
      SELECT d.objid AS id FROM pg_event_trigger_dropped_objects() d
       WHERE d.classid = 'pg_class'::regclass AND d.objsubid <> 0
      UNION ALL
      SELECT c.oid FROM pg_class c WHERE c.relreplident = 'i' AND NOT EXISTS (
        SELECT FROM pg_index i WHERE i.indrelid = c.oid AND i.indisreplident)) o;
  ELSE
    WITH RECURSIVE command AS (
      SELECT d.classid, d.objid, d.command_tag FROM pg_event_trigger_ddl_commands() d
    ), named AS (
      SELECT c.objid AS id FROM command c WHERE c.classid = 'pg_class'::regclass
      UNION
      SELECT i.indrelid FROM command c JOIN pg_index i ON i.indexrelid = c.objid WHERE c.classid = 'pg_class'::regclass
      UNION
      SELECT t.oid FROM command c JOIN pg_class t ON t.relnamespace = c.objid WHERE c.classid = 'pg_namespace'::regclass
    ), heir AS (
      SELECT n.id FROM named n
      UNION
      SELECT i.inhrelid FROM heir h JOIN pg_inherits i ON i.inhparent = h.id
    )
    SELECT coalesce(array_agg(DISTINCT h.id), '{}') INTO changed FROM heir h;
    -- another label of an enum, another attribute of a composite type: values that are stored already look different
    IF tg_tag = 'ALTER TYPE' AND current_query() !~* '\\madd\\s+value\\M' THEN
      WITH RECURSIVE type AS (
        SELECT d.objid AS id FROM pg_event_trigger_ddl_commands() d WHERE d.classid = 'pg_type'::regclass
        UNION
        SELECT y.oid FROM type t JOIN pg_type y
            ON y.typelem = t.id OR y.typbasetype = t.id
            OR EXISTS (SELECT FROM pg_range r WHERE r.rngtypid = y.oid AND r.rngsubtype = t.id)
            OR EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = y.typrelid AND a.atttypid = t.id AND y.typrelid <> 0)
      )
      SELECT coalesce(array_agg(DISTINCT a.attrelid), '{}') INTO looks_different
        FROM type t JOIN pg_attribute a ON a.atttypid = t.id AND NOT a.attisdropped AND a.attnum > 0;
    END IF;
  END IF;
  SELECT coalesce(array_agg(c.oid), '{}') INTO changed
    FROM pg_class c WHERE c.oid = ANY (changed) AND (${publishedSql(literal, bySchema)});
  SELECT coalesce(array_agg(c.oid), '{}') INTO looks_different
    FROM pg_class c WHERE c.oid = ANY (looks_different) AND (${publishedSql(literal, bySchema)});
  FOR description IN ${describeTablesSql(literal, triggers, "changed")} LOOP
    PERFORM pg_logical_emit_message(true, ${quoteLiteral(ddlMessagePrefix)}, convert_to(json_build_object(
      'kind', 'changed', 'publication', ${literal}, 'plain', plain, 'table', description)::text, 'UTF8'));
  END LOOP;
  FOREACH relation IN ARRAY looks_different LOOP
    PERFORM pg_logical_emit_message(true, ${quoteLiteral(ddlMessagePrefix)}, convert_to(json_build_object(
      'kind', 'unknown', 'publication', ${literal}, 'tableId', relation::text,
      'reason', 'a type of its columns was altered')::text, 'UTF8'));
  END LOOP;
EXCEPTION WHEN OTHERS THEN
  RAISE WARNING 'sluice: a change of a published table can''t be announced: %', SQLERRM;
  BEGIN
    PERFORM pg_logical_emit_message(true, ${quoteLiteral(ddlMessagePrefix)}, convert_to(json_build_object(
      'kind', 'unknown', 'publication', ${literal}, 'tableId', NULL,
      'reason', 'an event trigger failed: ' || SQLSTATE)::text, 'UTF8'));
  EXCEPTION WHEN OTHERS THEN
    RAISE WARNING 'sluice: nor that it can''t: %', SQLERRM;
  END;
END`;
  return `CREATE FUNCTION ${name} RETURNS event_trigger LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp ${settings.join(" ")} AS ${quoteLiteral(body)}`;
}

/** SQL: whether the table c, or one that it is a partition of, is in the publication. */
function publishedSql(publication: string, bySchema: boolean): string {
  const schemas = bySchema
    ? ` OR EXISTS (
        SELECT FROM pg_publication_namespace s WHERE s.pnpubid = b.oid AND s.pnnspid IN (
          SELECT f.relnamespace FROM pg_class f WHERE f.oid = c.oid
              OR f.oid IN (SELECT x.relid FROM pg_partition_ancestors(c.oid) AS x (relid))))`
    : "";
  return `c.relkind IN ('r', 'p') AND c.relpersistence = 'p' AND EXISTS (
      SELECT FROM pg_publication b WHERE b.pubname = ${publication} AND (b.puballtables OR EXISTS (
        SELECT FROM pg_publication_rel r WHERE r.prpubid = b.oid AND (r.prrelid = c.oid
            OR r.prrelid IN (SELECT x.relid FROM pg_partition_ancestors(c.oid) AS x (relid))))${schemas}))`;
}

export interface DdlCaptureFacts {
  /** the schema's comment marks it as ours, or there is none */
  ours: boolean;
  /** what of it is there */
  present: string[];
  /** what of it isn't as we leave it */
  faults: string[];
}

/** What there is of a publication's DDL capture. */
export async function readDdlCapture(
  client: Client,
  publication: string,
  mark: string,
  bySchema = false,
): Promise<DdlCaptureFacts> {
  const names = ddlCaptureNames(publication);
  const { rows: schemas } = await client.query<{ comment: string | null; source: string | null }>(
    `SELECT pg_catalog.obj_description(n.oid, 'pg_namespace') AS comment,
            (SELECT p.prosrc FROM pg_catalog.pg_proc p WHERE p.pronamespace = n.oid AND p.proname = 'announce') AS source
       FROM pg_catalog.pg_namespace n WHERE n.nspname = $1`,
    [names.schema],
  );
  const { rows: triggers } = await client.query<{ name: string; enabled: string; sound: boolean }>(
    `SELECT e.evtname AS name, e.evtenabled::text AS enabled, n.nspname = $2 AND p.proname = 'announce' AS sound
       FROM pg_catalog.pg_event_trigger e
       JOIN pg_catalog.pg_proc p ON p.oid = e.evtfoid
       JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
      WHERE e.evtname::text = ANY ($1::text[])`,
    [[names.end, names.drop], names.schema],
  );
  const present: string[] = [];
  const faults: string[] = [];
  const [schema] = schemas;
  if (schema === undefined) faults.push(`the schema ${quoteIdentifier(names.schema)} is absent`);
  else {
    present.push(`the schema ${quoteIdentifier(names.schema)}`);
    const body = createFunction("", publication, bySchema);
    if (schema.source === null) faults.push("its function is absent");
    else if (!body.endsWith(` AS ${quoteLiteral(schema.source)}`)) faults.push("its function was changed");
  }
  for (const name of [names.end, names.drop]) {
    const trigger = triggers.find((one) => one.name === name);
    if (trigger === undefined) faults.push(`the event trigger ${quoteIdentifier(name)} is absent`);
    else {
      present.push(`the event trigger ${quoteIdentifier(name)}`);
      if (trigger.enabled !== "A") faults.push(`the event trigger ${quoteIdentifier(name)} is not enabled always`);
      if (!trigger.sound) faults.push(`the event trigger ${quoteIdentifier(name)} calls another function`);
    }
  }
  return { ours: schema === undefined || schema.comment === mark, present, faults };
}

/** Installs it, or repairs what isn't as we leave it; removes what is ours where it isn't wanted. */
export async function setDdlCapture(
  client: Client,
  publication: string,
  mark: string,
  wanted: boolean,
  bySchema = false,
): Promise<void> {
  const { ours, present, faults } = await readDdlCapture(client, publication, mark, bySchema);
  if (wanted ? faults.length === 0 : present.length === 0 || !ours) return;
  if (!ours) {
    const name = quoteIdentifier(ddlCaptureNames(publication).schema);
    throw new SluiceError("name-taken", `a schema ${name} exists and isn't this stack's`, {
      remedy: `Drop or rename it, or choose another publicationName.`,
    });
  }
  const statements = [
    ...removeDdlCapture(publication),
    ...(wanted ? installDdlCapture(publication, mark, bySchema) : []),
  ];
  for (const statement of statements) await client.query(statement);
}

/** Whether our role may make event triggers: a superuser, or what stands for one at the known providers. */
export async function mayCaptureDdl(client: Client): Promise<boolean> {
  const { rows } = await client.query<{ may: boolean }>(
    `SELECT r.rolsuper OR EXISTS (
              SELECT FROM pg_catalog.pg_roles g
               WHERE g.rolname IN ('rds_superuser', 'azure_pg_admin', 'cloudsqlsuperuser')
                 AND pg_catalog.pg_has_role(r.oid, g.oid, 'MEMBER')) AS may
       FROM pg_catalog.pg_roles r WHERE r.rolname = current_user`,
  );
  return rows[0].may;
}
