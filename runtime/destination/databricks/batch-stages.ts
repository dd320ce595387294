import type { StagedFile } from "../../staging/staged-commit";
import type { ApplyPlan, ApplyStep, ChangesFile } from "../apply-plan";

type Start = Extract<ApplyStep, { kind: "replace" | "truncate" }>;

/** What one statement does to a table, and what of its columns is changed before. */
export interface BatchStage {
  /** of the table from here on */
  schemaId: number;
  /** its rows are those of a snapshot now, or none; null when it goes on with those it has */
  start: Start | null;
  /** files of changes in order, each with the schema that it was written by */
  changes: { schemaId: number; files: ChangesFile[]; fills: number }[];
  /** values that rows of before have in new columns; `changes` with `fills` below an index were before it */
  fills: { schemaId: number; file: StagedFile }[];
}

/**
 * Pure: a plan as stages, of which each is one statement with its own position. Changes of several schemas are one where the
 * key is one; where history is kept, a snapshot or TRUNCATE is a stage of its own, as it tells of the rows before it.
 * @param keyOf the key's columns under a schema, as text
 */
export function stagesOf(
  { steps }: Pick<ApplyPlan, "steps">,
  keepsHistory: boolean,
  keyOf: (schemaId: number) => string,
): BatchStage[] {
  const stages: BatchStage[] = [];
  /** with which a TRUNCATE has begun anew: the fold keeps earlier ones behind it, which have no rows to follow them */
  let emptiedSchemaId = 0;
  const begin = (schemaId: number, start: Start | null): BatchStage => {
    const stage: BatchStage = { schemaId, start, changes: [], fills: [] };
    stages.push(stage);
    return stage;
  };
  for (const step of steps) {
    const last = stages.at(-1);
    const isOpen =
      last !== undefined && !(keepsHistory && last.start !== null) && keyOf(last.schemaId) === keyOf(step.schemaId);
    switch (step.kind) {
      case "replace":
        begin(step.schemaId, step);
        break;
      case "truncate":
        // The fold leaves nothing but schemas and a snapshot without rows before it, where no history is kept.
        if (!keepsHistory) emptiedSchemaId = step.schemaId;
        if (!keepsHistory && last !== undefined) {
          last.start ??= step;
          last.schemaId = step.schemaId;
        } else begin(step.schemaId, step);
        break;
      case "schema": {
        if (step.schemaId <= emptiedSchemaId) break;
        const stage = isOpen ? last : begin(step.schemaId, null);
        stage.schemaId = step.schemaId;
        if (step.fill !== null) stage.fills.push({ schemaId: step.schemaId, file: step.fill });
        break;
      }
      case "changes": {
        const stage = isOpen ? last : begin(step.schemaId, null);
        stage.schemaId = step.schemaId;
        stage.changes.push({ schemaId: step.schemaId, files: step.files, fills: stage.fills.length });
        break;
      }
    }
  }
  return stages;
}
