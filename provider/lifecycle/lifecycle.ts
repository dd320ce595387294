import { describeError, SluiceError } from "../../runtime/errors";

/** Plain values, as an engine stores them. */
export type Properties = Record<string, unknown>;

export interface CheckFailure {
  /** path of the input, as `tables[0].name` */
  property: string;
  /** what is wrong, and the remedy */
  reason: string;
}

export interface CheckResult {
  inputs: Properties;
  failures: CheckFailure[];
}

export interface DiffResult {
  changes: boolean;
  replaces: string[];
  deleteBeforeReplace: boolean;
}

export interface ReadResult {
  /** empty when the object is gone */
  id: string;
  props?: Properties;
  inputs?: Properties;
}

/**
 * A create or an update has failed after something was made: what is there is recorded, so that it can be updated and
 * deleted.
 */
export class PartialFailure extends SluiceError {
  constructor(
    cause: unknown,
    readonly id: string,
    /** the outputs, as far as there are any */
    readonly outs: Properties,
  ) {
    const { kind, message, remedy, sqlState } =
      cause instanceof SluiceError ? cause : new SluiceError("internal", describeError(cause));
    super(kind, message, { remedy, sqlState, cause });
  }
}

/**
 * What one kind of resource does, told without Pulumi: any engine that keeps inputs and outputs can drive it.
 * `check` and `diff` see unknown values in a preview (see `unknown-value.ts`); the other methods never do.
 * Every method throws SluiceError; `create` and `update` a PartialFailure where something of it is there.
 */
export interface Lifecycle {
  /** @param olds the checked inputs of before; empty for a new resource and for one that is replaced */
  check(olds: Properties, news: Properties): Promise<CheckResult>;
  /** @param olds the outputs of before */
  diff(id: string, olds: Properties, news: Properties): DiffResult;
  create(inputs: Properties): Promise<{ id: string; outs: Properties }>;
  read(id: string, props: Properties): Promise<ReadResult>;
  update(id: string, olds: Properties, news: Properties): Promise<{ outs: Properties }>;
  /** Idempotent; returns only when the object is verified to be absent. */
  delete(id: string, props: Properties): Promise<void>;
}
