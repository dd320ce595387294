// A provider's process, as an engine drives it: reads an operation as JSON from its input, calls the resources' lifecycles
// in the engine's order, and writes the state after each call that has returned, one JSON line each, as an engine records
// it. Killed, it leaves what was recorded.
import { writeSync } from "node:fs";
import { text } from "node:stream/consumers";
import { dispatch, EngineError } from "../../provider/handlers";
import type { CheckResult, DiffResult, Properties, ReadResult } from "../../provider/lifecycle/lifecycle";

export interface RecordedResource {
  id: string;
  props: Properties;
}

/** Of a stack that has a publication and its slot. */
export interface RecordedState {
  publication?: RecordedResource;
  slot?: RecordedResource;
}

export interface Operation {
  kind: "up" | "refresh" | "destroy";
  state: RecordedState;
  /** inputs as a program gives them; the slot's also from the publication */
  publication: Properties;
  slot: Properties;
}

const kinds = { publication: "Publication", slot: "ReplicationSlot" } as const;

async function run({ kind, state, publication, slot }: Operation): Promise<void> {
  // What the resources print goes elsewhere.
  console.log = (line: string) => void process.stderr.write(`${line}\n`);
  const record = () => writeSync(1, `${JSON.stringify({ state })}\n`);
  if (kind === "destroy") {
    for (const name of ["slot", "publication"] as const) {
      const known = state[name];
      if (known === undefined) continue;
      await dispatch(kinds[name], "delete", [known.id, known.props]);
      delete state[name];
      record();
    }
    return;
  }
  if (kind === "refresh") {
    for (const name of ["publication", "slot"] as const) {
      const known = state[name];
      if (known === undefined) continue;
      const { id, props } = (await dispatch(kinds[name], "read", [known.id, known.props])) as ReadResult;
      if (id === "") delete state[name];
      else state[name] = { id, props: props as Properties };
      record();
    }
    return;
  }
  await apply(state, "publication", publication, record);
  const { publicationName, pipelineId } = (state.publication as unknown as RecordedResource).props;
  await apply(state, "slot", { ...slot, publicationName, pipelineId }, record);
}

async function apply(state: RecordedState, name: keyof RecordedState, news: Properties, record: () => void) {
  const known = state[name];
  const { inputs, failures } = (await dispatch(kinds[name], "check", [known?.props ?? {}, news])) as CheckResult;
  if (failures.length > 0) throw new Error(failures.map(({ reason }) => reason).join("; "));
  try {
    if (known === undefined) {
      const { id, outs } = (await dispatch(kinds[name], "create", [inputs])) as { id: string; outs: Properties };
      state[name] = { id, props: outs };
      return record();
    }
    const { changes, replaces } = (await dispatch(kinds[name], "diff", [known.id, known.props, inputs])) as DiffResult;
    if (replaces.length > 0) throw new Error(`${name} is replaced for ${replaces.join(", ")}`);
    if (!changes) return;
    const { outs } = (await dispatch(kinds[name], "update", [known.id, known.props, inputs])) as { outs: Properties };
    state[name] = { id: known.id, props: outs };
    record();
  } catch (error) {
    // Half-made.
    if (error instanceof EngineError && error.id !== undefined) {
      state[name] = { id: error.id, props: error.properties as Properties };
      record();
    }
    throw error;
  }
}

text(process.stdin)
  .then((operation) => run(JSON.parse(operation) as Operation))
  .then(
    () => process.exit(0),
    (error: Error) => {
      writeSync(1, `${JSON.stringify({ error: error.message })}\n`);
      process.exit(1);
    },
  );
